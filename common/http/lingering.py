"""A transport whose `close` lets the client read the last answer.

Closing a socket while bytes of the client wait in it, or are still to come, resets the connection, and the client may
lose the answer that says why. So this side first says that it sends no more, drops what comes, and closes when the
client does, or after a while (RFC 9112, 9.6).
"""

import asyncio
from collections.abc import Callable
from typing import Any


class LingeringTransport(asyncio.Transport):
    """What uvicorn's protocol uses of a transport. The protocol must drop what it receives once this `is_closing`."""

    def __init__(
        self, transport: asyncio.Transport, expects_more: Callable[[], bool], linger_s: float, answer_s: float
    ) -> None:
        """expects_more: whether the client may be sending. linger_s, answer_s: as in HttpLimits."""
        super().__init__()
        self._transport = transport
        self._expects_more = expects_more
        self._linger_s = linger_s
        self._answer_s = answer_s
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def abort(self) -> None:
        self._transport.abort()

    def close(self) -> None:
        """Returns at once."""
        if self.is_closing():
            return
        self._is_closing = True
        loop = asyncio.get_running_loop()
        if self._expects_more() and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            loop.call_later(self._linger_s, self._transport.abort)
            return
        self._transport.close()
        if self._transport.get_write_buffer_size():  # else a client that reads nothing would keep it open
            loop.call_later(self._answer_s, self._transport.abort)
