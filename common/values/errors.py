"""Every error penstock raises on purpose, grouped by who has to act.

PenstockError
├── InvalidRequest    the caller: fix the call; the same call fails again
├── Misconfigured     the operator: fix a setting, then start again
├── Unavailable       nobody: retry later; `written` says whether the thing may have happened all the same
├── Fenced            this process: stop, a newer one has claimed the sequencer
├── Forked            this process: stop, the stream is not the one it knew
└── DataCorrupt       a person: stored bytes are not what was written

Each has place, asked and actual values as attributes (`details`), and a message made of the same.
"""

from typing import Any, Literal

Written = Literal["no", "unknown"]


class PenstockError(Exception):
    """The root. details: the values that the message names."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __getattr__(self, name: str) -> Any:
        details = self.__dict__.get("details", {})
        if name in details:
            return details[name]
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(kind: type[PenstockError], message: str, details: dict[str, Any]) -> PenstockError:
    error = kind.__new__(kind)
    PenstockError.__init__(error, message, **details)
    return error


class InvalidRequest(PenstockError):
    """Fix the call."""


class Misconfigured(PenstockError):
    """Fix a setting; the message says which and how."""


class Unavailable(PenstockError):
    """Retry later. `written` says whether the thing asked for may have happened: no | unknown."""

    def __init__(self, message: str, *, written: Written = "no", **details: Any) -> None:
        super().__init__(message, written=written, **details)


class Fenced(PenstockError):
    """Stop: a newer process has claimed the sequencer."""


class Forked(PenstockError):
    """Stop: the stream's history is not the one that was followed."""


class DataCorrupt(PenstockError):
    """A person looks: stored bytes are not what was written. Nothing is skipped silently."""
