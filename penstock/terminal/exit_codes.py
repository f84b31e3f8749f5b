"""What penstock's exit codes mean: the number says who has to act."""

from common.values.errors import DataCorrupt, Fenced, Forked, InvalidRequest, Misconfigured, PenstockError, Unavailable

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
FENCED = 4
CORRUPT = 5
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    FAILED: "failed, or some rows were refused; of fsck: nothing is damaged, but something is left over",
    USAGE: "the call or a setting is wrong: fix it, then try again",
    UNAVAILABLE: "something cannot be reached: try again later",
    FENCED: "a newer process has the sequencer, or the write buffer is not the one that was followed",
    CORRUPT: "stored bytes are not what was written: see `penstock log salvage` and `penstock fsck`",
    INTERRUPTED: "stopped by Ctrl-C",
}
EPILOG = "\b\nExit codes:\n" + "\n".join(f"{code:>5}  {meaning}" for code, meaning in MEANINGS.items())

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
