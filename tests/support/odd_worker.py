"""A worker that does what a line's field asks for, the first time or each time: die, hang, run out of memory, break."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from router.parsing.batch import NO_TABLES, BatchParser
from router.parsing.messages import Body, ParsedBatch
from router.parsing.schemas import Schemas
from router.workers.worker import main

DIE = b"die=1"
DIE_ONCE = b"die_once="
"""Followed by the name of a file that does not exist yet."""
EXIT = b"exit=1"
HANG = b"hang=1"
STUCK = b"stuck=1"
"""Hangs in C code, which lets no other thread run."""
WAIT = b"wait=1"
"""Goes on until it is cancelled."""
MEMORY = b"memory=1"
BREAK = b"break=1"


class OddParser(BatchParser):
    def parse(
        self,
        namespace: str,
        bodies: Sequence[Body],
        news: Schemas,
        is_cancelled: Callable[[], bool] = lambda: False,
        refused_tables: Mapping[str, str] = NO_TABLES,
    ) -> ParsedBatch:
        for body in bodies:
            _misbehave(body.data, is_cancelled)
        return super().parse(namespace, bodies, news, is_cancelled, refused_tables)


def _misbehave(data: bytes, is_cancelled: Callable[[], bool]) -> None:
    if DIE_ONCE in data:
        mark = Path(data.partition(DIE_ONCE)[2].split(b'"')[1].decode())
        if not mark.exists():
            mark.touch()
            _die()
    if DIE in data:
        _die()
    if EXIT in data:
        os._exit(3)
    while HANG in data:
        time.sleep(1)
    if STUCK in data:
        sum(range(10**15))
    while WAIT in data and not is_cancelled():
        time.sleep(0.01)
    if MEMORY in data:
        raise MemoryError
    if BREAK in data:
        raise ZeroDivisionError("secret detail")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.modules["router.workers.worker"].BatchParser = OddParser  # type: ignore[attr-defined]
    main()
