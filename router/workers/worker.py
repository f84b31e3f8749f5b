"""A worker: one process that parses the batches of one slot, one after another.

`python -m router.workers` runs it, with the socket that the router made for it. It imports what parsing needs and
nothing of a router's I/O, keeps nothing that is not elsewhere, and ends at once when the router is gone, however that
ended. SIGINT and SIGTERM are for the router, which still has batches to finish: a terminal or a service manager sends
them to every process.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable

from common.values.errors import PenstockError, Unavailable
from router.core.events import Parse, Parsed, ParseFailed
from router.parsing.batch import BatchParser
from router.workers import frames
from router.workers.frames import Answer, Message

_PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def main() -> None:
    """Arguments: the socket's descriptor, and the cluster's number of sequencers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    descriptor, sequencers = map(int, sys.argv[1:])
    router = socket.socket(fileno=descriptor)
    _die_with_router()
    threading.Thread(target=_end_with_router, args=[router], name="router-watch", daemon=True).start()
    parser = BatchParser(sequencers)
    router.sendall(frames.READY)
    while True:
        message = _receive(router)
        if isinstance(message, Parse):  # a Cancel here is of a batch that was answered meanwhile
            for part in frames.write(answer(parser, message, lambda: _is_cancelled(router))):
                router.sendall(part)  # joined they would be in memory twice


def answer(parser: BatchParser, action: Parse, is_cancelled: Callable[[], bool]) -> Answer:
    """Parse one batch. An error of any kind is an answer too: its requests must be answered."""
    try:
        result = parser.parse(action.namespace, action.bodies, action.news, is_cancelled, action.refused_tables)
    except PenstockError as refusal:
        return Answer(ParseFailed(action.batch_id, refusal))
    except MemoryError:
        size = sum(len(body.data) for body in action.bodies)
        short = Unavailable(f"not enough memory to parse {size} bytes: send smaller batches, or again later")
        return Answer(ParseFailed(action.batch_id, short), traceback.format_exc())
    except Exception:  # noqa: BLE001  as above
        defect = PenstockError("this is a defect; the router's log has the stack trace")
        return Answer(ParseFailed(action.batch_id, defect), traceback.format_exc())
    return Answer(Parsed(action.batch_id, result))


def _receive(router: socket.socket) -> Message:
    reading = frames.read()
    wanted = next(reading)
    while True:
        try:
            wanted = reading.send(_exactly(router, wanted))
        except StopIteration as end:
            message: Message = end.value
            return message


def _exactly(router: socket.socket, count: int) -> bytes:
    data = router.recv(count, socket.MSG_WAITALL)
    while len(data) < count:  # a signal came between, or the router is gone
        more = router.recv(count - len(data), socket.MSG_WAITALL)
        if not more:
            _end()
        data += more
    return data


def _is_cancelled(router: socket.socket) -> bool:
    """Whether anything came while a batch is parsed: the router sends no other batch before the answer."""
    try:
        router.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def _die_with_router() -> None:
    """On Linux the kernel sees to it, also where a parse never comes back from C code and lets no thread run.

    By "parent" it means the thread that started this process: a router's main thread, which lasts as long as it does.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_router(router: socket.socket) -> None:
    """On any system, also while a batch is parsed; and where the router had ended before `_die_with_router`."""
    gone = select.poll()
    gone.register(router, 0)  # a hang-up is reported unasked
    gone.poll()
    _end()


def _end() -> None:
    os._exit(0)
