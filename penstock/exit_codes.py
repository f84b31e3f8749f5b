"""What penstock's exit codes mean: a script learns from the number who has to act."""

from common.errors import DataCorrupt, Fenced, Forked, InvalidRequest, Misconfigured, PenstockError, Unavailable

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
FENCED = 4
CORRUPT = 5
INTERRUPTED = 130

EPILOG = """\b
Exit codes:
    0  done
    1  failed, or some rows were refused
    2  the call or a setting is wrong: fix it, then try again
    3  something cannot be reached: try again later
    4  a newer process holds the sequencer, or the stream is not the one that was followed
    5  stored bytes are not what was written: a person has to look
  130  stopped by Ctrl-C"""

_CODES: dict[type[PenstockError], int] = {
    InvalidRequest: USAGE,
    Misconfigured: USAGE,
    Unavailable: UNAVAILABLE,
    Fenced: FENCED,
    Forked: FENCED,
    DataCorrupt: CORRUPT,
}


def of(error: PenstockError) -> int:
    """The exit code of the group that `error` belongs to."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)
