"""A write's body, read from the connection: bounded while it arrives, bounded while it is inflated.

Bytes are admitted as they come, so that many slow or large uploads cannot take more memory than the router has set
aside; whoever reads a body holds what it took and gives it back when done.
"""

import asyncio
from types import TracebackType

from isal import isal_zlib

from common.httpserver import Request
from router import answers
from router.admission import Admission
from router.answers import Answer

ARRIVAL_TIMEOUT_S = 30.0
"""Between two parts of a body. A client that stalls must not hold memory for ever."""

_PLAIN = ("", "identity")
_GZIP = ("gzip", "x-gzip")
_WINDOW_BITS = 31
"""zlib's way of saying: gzip, with its header and checksum."""


class WriteRefused(Exception):
    """The request cannot be taken, before anything was parsed; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class BodyReader:
    """One body. A context manager: what it holds of the admission goes back at the end of the block."""

    def __init__(self, admission: Admission, body_bytes_max: int) -> None:
        self._admission = admission
        self._bytes_max = body_bytes_max
        self._held = 0
        self._parts: list[bytes] = []

    def __enter__(self) -> "BodyReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.release(self._held)

    async def read(self, request: Request) -> bytes:
        """The whole body, inflated. Raises WriteRefused, or ClientGone."""
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in _PLAIN + _GZIP:
            raise WriteRefused(answers.refused(f"unacceptable content-encoding: {encoding[:40]!r}; use gzip or none"))
        gzip = _Gzip(self._bytes_max) if encoding in _GZIP else None
        received = 0
        try:
            async with asyncio.timeout(ARRIVAL_TIMEOUT_S) as patience:
                async for part in request.parts():
                    patience.reschedule(asyncio.get_running_loop().time() + ARRIVAL_TIMEOUT_S)
                    received += len(part)
                    if received > self._bytes_max:
                        raise WriteRefused(answers.too_large(self._bytes_max))
                    for piece in gzip.inflate(part) if gzip else [part]:
                        self._keep(piece)
        except TimeoutError:
            raise WriteRefused(answers.too_slow()) from None
        if gzip:
            gzip.finish()
        return b"".join(self._parts)

    def _keep(self, part: bytes) -> None:
        if self._held + len(part) > self._bytes_max:
            raise WriteRefused(answers.too_large(self._bytes_max))
        if not self._admission.admit(len(part)):
            raise WriteRefused(answers.overloaded(self._admission.refusal))
        self._held += len(part)
        self._parts.append(part)


class _Gzip:
    """Inflates gzip of one or more members (RFC 1952 allows several), never making more than bytes_max + 1 bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max + 1
        self._member = isal_zlib.decompressobj(_WINDOW_BITS)
        self._is_begun = False

    def inflate(self, data: bytes) -> list[bytes]:
        """What `data` adds. Stops at the bound: the caller sees more bytes than it allows."""
        parts: list[bytes] = []
        while data and self._left > 0:
            if self._member.eof:
                self._member = isal_zlib.decompressobj(_WINDOW_BITS)
            self._is_begun = True
            part = self._decompress(data)
            self._left -= len(part)
            parts.append(part)
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return parts

    def finish(self) -> None:
        """Raises WriteRefused for a stream that ended early. An empty body is fine: some clients mark it as gzip."""
        if self._is_begun and not self._member.eof:
            raise WriteRefused(answers.refused("error decoding gzip stream: it ends before its end mark"))

    def _decompress(self, data: bytes) -> bytes:
        try:
            part: bytes = self._member.decompress(data, self._left)
        except isal_zlib.error as error:  # type: ignore[misc]  # the stubs declare an instance
            raise WriteRefused(answers.refused(f"error decoding gzip stream: {error}")) from None
        return part
