"""A write's body, read from the connection: bounded while it arrives, bounded while it is inflated.

A body is admitted by its length before it is read, if it is not very large, and further as it arrives or is inflated.
So many slow or large uploads cannot use more memory than the router has set aside, and clients that send much leave
room for others.
Nearly every small body has arrived as a whole, plain, before it is asked for: the short way.
"""

import asyncio
from types import TracebackType

from common.http.app import Request
from common.http.intake import BodyTooMuch, BodyTooSlow
from router.api.inflating import Gzip, inflate_zstd
from router.api.refused import WriteRefused
from router.core.admission import Admission
from router.core.outcome import Overloaded, Reason, RequestRefused, TooLarge

_NO_LENGTH = (
    "the request has no length, so the end of its body is unknown: send Content-Length, or Transfer-Encoding: chunked"
)
_PLAIN = ("", "identity")
_CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_MAGICS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
"""How compressed bodies begin, and no line that is stored: the first has a control character, the second no UTF-8."""

_RESERVED_BYTES_MAX = 1024 * 1024
"""Admitted by a body's length, before it arrives; the rest as it does: a slow client may take hours to send 10 MB."""

_PART_BYTES_MIN = 4096
"""Smaller parts are joined as they come: a part of two bytes takes fifty of memory."""


class BodyReader:
    """The bodies of one router's writes."""

    def __init__(self, admission: Admission, body_bytes_max: int) -> None:
        self._admission = admission
        self._bytes_max = body_bytes_max

    async def read(self, request: Request) -> bytes:
        """The whole body, inflated. Its bytes are admitted: the caller releases them, or hands them on.

        Raises WriteRefused, or ClientGone; then nothing of it is admitted any longer.
        """
        _check_framing(request)
        coding, length = _coding(request), _length(request)
        if length > self._bytes_max:  # before a client that asked sends it
            raise WriteRefused(TooLarge(self._bytes_max))
        if not coding and (whole := await request.whole()) is not None:
            return self._admitted(request.client, whole)
        with _Body(self._admission, request.client, self._bytes_max) as body:
            body.expect(min(length, _RESERVED_BYTES_MAX))
            await self._receive(request, body, Gzip() if coding == "gzip" else None)
            if coding == "zstd":
                return await self._inflate_zstd(body)
            if not coding:
                _check_plain(body.start())
            return body.hand_over()

    def _admitted(self, client: str, body: bytes) -> bytes:
        """`body`, which is plain and has arrived before it was asked for."""
        if len(body) > self._bytes_max:
            raise WriteRefused(TooLarge(self._bytes_max))
        _check_plain(body)
        if not self._admission.admit(client, len(body)):
            raise WriteRefused(Overloaded(self._admission.refusal(client)))
        return body

    async def _receive(self, request: Request, body: "_Body", gzip: Gzip | None) -> None:
        received = 0
        try:
            async for part in request.parts():
                received += len(part)
                if received > self._bytes_max:
                    raise WriteRefused(TooLarge(self._bytes_max))
                if gzip:
                    await _inflate(gzip, part, body)
                else:
                    body.keep(part)
        except BodyTooSlow as error:
            raise WriteRefused(RequestRefused(str(error), Reason.TOO_SLOW)) from None
        except BodyTooMuch as error:
            raise WriteRefused(Overloaded(str(error))) from None
        if gzip:
            gzip.finish()

    async def _inflate_zstd(self, compressed: "_Body") -> bytes:
        """Other requests have their turn all the time."""
        with compressed.another() as body:
            slices = inflate_zstd(compressed.content())
            while piece := await asyncio.to_thread(next, slices, b""):
                body.keep(piece)
            return body.hand_over()


class _Body:
    """What has come of one body, and what is admitted for it: as much, or more where more was expected.

    A context manager: at the end of the block what was not handed over is released.
    """

    def __init__(self, admission: Admission, client: str, bytes_max: int, beside: int = 0) -> None:
        """beside: admitted for the same request already."""
        self._admission = admission
        self._client = client
        self._bytes_max = bytes_max
        self._beside = beside
        self._parts: list[bytes] = []
        self._size = 0
        self._admitted = 0

    def __enter__(self) -> "_Body":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.release(self._client, self._admitted)

    def another(self) -> "_Body":
        """One more of the same request."""
        return _Body(self._admission, self._client, self._bytes_max, self._beside + self._admitted)

    def expect(self, size: int) -> None:
        """Admit so much. Raises WriteRefused if it does not fit."""
        more = size - self._admitted
        if more > 0:
            if not self._admission.admit(self._client, more, self._beside + self._admitted):
                raise WriteRefused(Overloaded(self._admission.refusal(self._client)))
            self._admitted = size

    def keep(self, part: bytes) -> None:
        if self._size + len(part) > self._bytes_max:
            raise WriteRefused(TooLarge(self._bytes_max))
        self._size += len(part)
        self.expect(self._size)
        if self._parts and len(self._parts[-1]) + len(part) <= _PART_BYTES_MIN:
            self._parts[-1] += part
        elif part:
            self._parts.append(part)

    def start(self) -> bytes:
        """The first bytes, four where there are so many."""
        return b"".join(self._parts[:4])[:4]

    def content(self) -> bytes:
        """All of it, which is kept here no longer: parts and whole would be twice as much."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def hand_over(self) -> bytes:
        """`content`, with as many bytes admitted as it has; they are the caller's to release."""
        self._admission.release(self._client, self._admitted - self._size)
        self._admitted = 0
        return self.content()


async def _inflate(gzip: Gzip, part: bytes, body: _Body) -> None:
    """Other requests have their turn between two slices."""
    for piece in gzip.inflate(part):
        body.keep(piece)
        await asyncio.sleep(0)


def _check_framing(request: Request) -> None:
    """Without a length a body would pass for an empty one, and be lost under a 204.

    HTTP/1.1 allows it for a request without a body; refusing a write without one loses nothing.
    """
    length, coding = request.headers.get("content-length"), request.headers.get("transfer-encoding")
    if length is None and coding is None:
        raise WriteRefused(RequestRefused(_NO_LENGTH, Reason.NO_LENGTH))
    if coding is not None and coding.strip().lower() != "chunked":
        raise WriteRefused(RequestRefused(f"unacceptable transfer-encoding: {coding[:40]!r}; use chunked or none"))


def _check_plain(start: bytes) -> None:
    """Raises WriteRefused for compressed bytes without the header: read as lines, each would be refused."""
    for coding, magic in _MAGICS.items():
        if start.startswith(magic):
            raise WriteRefused(RequestRefused(f"the body is {coding}: send it with Content-Encoding: {coding}"))


def _length(request: Request) -> int:
    """As sent, perhaps compressed; 0 where only the chunks will say it."""
    return int(request.headers.get("content-length", "0"))


def _coding(request: Request) -> str:
    """gzip, zstd, or empty for none. Raises WriteRefused for another, and for several together."""
    given = request.headers.get("content-encoding", "")
    if not given:
        return ""
    codings = [one for part in given.split(",") if (one := part.strip().lower()) not in _PLAIN]
    if len(codings) > 1 or not set(codings) <= _CODINGS.keys():
        raise WriteRefused(RequestRefused(f"unacceptable content-encoding: {given[:40]!r}; use gzip, zstd or none"))
    return _CODINGS[codings[0]] if codings else ""
