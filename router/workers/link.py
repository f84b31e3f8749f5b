"""The router's end of a worker's socket, on the event loop."""

import asyncio
from collections.abc import Callable
from typing import cast

from router.workers import frames
from router.workers.frames import Answer, Message


class WorkerLink(asyncio.Protocol):
    """Calls `hear` for each answer as its last byte arrives: a task that waits for bytes would be woken for each part
    of a frame."""

    def __init__(self, hear: Callable[[Answer], None]) -> None:
        """hear: an error of it ends the link."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Resolves once the worker has said that it is; fails as `ended`."""
        self.ended: asyncio.Future[None] = loop.create_future()
        """Fails once there is nothing more to hear: ConnectionError, or why an answer could not be read."""
        self._hear = hear
        self._unread = bytearray()
        self._reading = frames.read()
        self._wanted = len(frames.READY)

    def send(self, message: Message) -> None:
        self._transport.writelines(frames.write(message))

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._unread += data
        try:
            while len(self._unread) >= self._wanted:
                with memoryview(self._unread) as unread:
                    part = bytes(unread[: self._wanted])
                del self._unread[: self._wanted]
                self._take(part)
        except Exception as error:  # noqa: BLE001  whatever it is, the next bytes mean nothing
            self._end(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("the worker is gone"))

    def _take(self, part: bytes) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
            self._wanted = next(self._reading)
            return
        try:
            self._wanted = self._reading.send(part)
        except StopIteration as end:
            self._reading = frames.read()
            self._wanted = next(self._reading)
            self._hear(end.value)

    def _end(self, error: Exception) -> None:
        self._transport.abort()
        for waited_for in (self.ready, self.ended):
            if not waited_for.done():
                waited_for.set_exception(error)
                waited_for.exception()  # who waits gets it; nobody may
