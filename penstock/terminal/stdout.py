"""stdout as the command's answer: what cannot be printed is an error of the command, never lost silently.

A reader that went away (`| head`) is not reported: it stays a BrokenPipeError, at which click exits with 1.
"""

import io
import sys
from typing import TYPE_CHECKING

from common.values.errors import PenstockError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputFailed(PenstockError):
    """The command's answer cannot be written to stdout."""


class _Stdout(io.FileIO):
    """Ignores writes after a failed one, so that Python's own flush at exit does not report it again."""

    _failed = False

    def write(self, data: "ReadableBuffer", /) -> int:
        if self._failed:
            return len(memoryview(data))
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed = True
            raise OutputFailed(f"stdout: {error.strerror}: the output is incomplete") from None


def guard_stdout() -> None:
    """From here on, writes to sys.stdout raise OutputFailed. Raises it at once where stdout is closed."""
    stdout = sys.stdout
    if stdout is None:
        raise OutputFailed("stdout is closed: give it a file, or /dev/null")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(stdout.fileno(), "wb", closefd=False)),
        encoding=stdout.encoding,
        errors=stdout.errors,
        line_buffering=bool(stdout.line_buffering),
    )
