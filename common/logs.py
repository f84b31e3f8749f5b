"""One line for each event: time, level, process, event, key=value. Structured by structlog, written to stderr.

A log that cannot be written stops no work: its lines are lost.
"""

import contextlib
import io
import logging
import sys
from typing import Any, Protocol

import structlog

Logger = structlog.stdlib.BoundLogger

_PROCESSORS: list[Any] = [
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.add_log_level,
    structlog.processors.format_exc_info,
    structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "process", "event"], bool_as_flag=False),
]
_WRAPPER = structlog.make_filtering_bound_logger(logging.INFO)


class LineOutput(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class Unbroken(io.TextIOBase):
    """A stream whose writes never fail, though its reader may have died (a pipe) or its disk may be full."""

    def __init__(self, stream: LineOutput) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Stderr:
    """Writes each line to what sys.stderr is at that moment."""

    def write(self, text: str) -> object:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure(process: str) -> Logger:
    """Set up the logging of this process, once, in its main function; returns a logger. Every line names `process`,
    e.g. "ingester-3", also those of modules that make a logger for themselves.
    """
    stream: Any = Unbroken(sys.stderr)
    logging.basicConfig(stream=stream, level=logging.INFO, format="%(message)s", force=True)
    structlog.configure(
        processors=[_naming(process), *_PROCESSORS],
        logger_factory=structlog.PrintLoggerFactory(stream),
        wrapper_class=_WRAPPER,
        cache_logger_on_first_use=True,
    )
    logger: Any = structlog.get_logger()
    return logger  # type: ignore[no-any-return]


def _naming(process: str) -> Any:
    def name_process(logger: object, method: str, event: Any) -> Any:
        event.setdefault("process", process)
        return event

    return name_process


def configure_command(*, warnings: bool) -> None:
    """The same for a command that a person calls: on stderr, because stdout is the answer.

    warnings: while it works for long. Else only errors: what a command could not do is its own last line.
    """
    stream: Any = Unbroken(_Stderr())
    structlog.configure(
        processors=[_naming("penstock"), *_PROCESSORS],
        logger_factory=structlog.PrintLoggerFactory(stream),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if warnings else logging.ERROR),
    )


def logger_onto(stream: LineOutput, process: str) -> Logger:
    """A logger whose lines of the same form go to `stream`; leaves this process's logging as it is."""
    unbroken: Any = Unbroken(stream)
    plain = structlog.PrintLogger(unbroken)
    logger: Any = structlog.wrap_logger(plain, processors=_PROCESSORS, wrapper_class=_WRAPPER, process=process)
    return logger  # type: ignore[no-any-return]
