"""Compressed bodies, inflated in slices: each takes little time and memory, whatever a few hostile bytes ask for.

gzip (RFC 1952) of one or more members is inflated as it arrives. zstd (RFC 8878) of one or more frames is inflated once
it is whole: Arrow's decoder, the only one among the dependencies, reads a stream to its end.
"""

from collections.abc import Iterator

import pyarrow as pa
from isal import isal_zlib

from router.api.refused import WriteRefused
from router.core.outcome import RequestRefused

SLICE_BYTES = 256 * 1024
"""At most so much is inflated at once: a fraction of a millisecond."""

_FED_BYTES = 8 * 1024
"""Of gzip at once: after each member the rest of what was fed is copied."""

_GZIP_MAGIC = b"\x1f\x8b"
_WINDOW_BITS = 31
"""zlib's way of saying: gzip, with its header and checksum."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"
"""Of a frame that holds no data, after a first byte 0x50 to 0x5f."""


class Gzip:
    """Inflates one body."""

    def __init__(self) -> None:
        self._member = isal_zlib.decompressobj(_WINDOW_BITS)
        self._members = 0
        self._head = b""
        """The bytes of a member whose first two bytes have not both arrived yet."""

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """What `data` adds, of at most one member a slice. Raises WriteRefused."""
        for at in range(0, len(data), _FED_BYTES):
            yield from self._inflate(data[at : at + _FED_BYTES])

    def finish(self) -> None:
        """Raises WriteRefused for a stream that ended early. An empty body is fine: some clients mark it as gzip."""
        if self._head:
            raise self._not_a_member(self._head)
        if self._is_inside:
            raise _undecodable("gzip", "it ends before its end mark; it was cut off")

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        while data:
            if not self._is_inside:
                data = self._begin_member(data)
                if not data:
                    break
            part = self._decompress(data)
            yield part
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            while len(part) == SLICE_BYTES and not data and self._is_inside:  # it may hold more output than input
                part = self._decompress(b"")
                yield part
                data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    @property
    def _is_inside(self) -> bool:
        return self._members > 0 and not self._member.eof

    def _begin_member(self, data: bytes) -> bytes:
        """`data` with what was held back before it; nothing while it is too short to be known as gzip."""
        data = self._head + data
        if len(data) < len(_GZIP_MAGIC):
            self._head = data
            return b""
        if not data.startswith(_GZIP_MAGIC):
            raise self._not_a_member(data)
        self._head = b""
        self._member = isal_zlib.decompressobj(_WINDOW_BITS)
        self._members += 1
        return data

    def _not_a_member(self, data: bytes) -> WriteRefused:
        start = data[: len(_GZIP_MAGIC)]
        return _goes_on("gzip", start) if self._members else _not_compressed("gzip", start)

    def _decompress(self, data: bytes) -> bytes:
        try:
            part: bytes = self._member.decompress(data, SLICE_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # the stubs declare an instance
            raise _undecodable("gzip", str(error)) from None
        return part


def inflate_zstd(body: bytes) -> Iterator[bytes]:
    """What a body says, empty bodies included. A slice may take a tenth of a second, where a megabyte of empty frames
    comes before it; the interpreter's lock is free meanwhile. Raises WriteRefused.
    """
    if not body:
        return
    if not body.startswith(_ZSTD_MAGIC) and body[1:4] != _SKIPPABLE_MAGIC:
        raise _not_compressed("zstd", body[:4])
    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
        while part := _read(stream):
            yield part


def _read(stream: pa.CompressedInputStream) -> bytes:
    try:
        part: bytes = stream.read(SLICE_BYTES)
    except OSError as error:
        reason = str(error)
    else:
        return part
    if "Truncated" in reason:
        raise _undecodable("zstd", "it ends before its end mark; it was cut off")
    if "Unknown frame descriptor" in reason:
        raise _goes_on("zstd", b"")
    raise _undecodable("zstd", reason)


def _not_compressed(coding: str, start: bytes) -> WriteRefused:
    return _undecodable(
        coding, f"the body begins with {start.hex(' ')} and is not {coding}; send it without Content-Encoding"
    )


def _goes_on(coding: str, start: bytes) -> WriteRefused:
    shown = f", {start.hex(' ')} …" if start else ""
    return _undecodable(coding, f"more bytes follow its end{shown}; send nothing after the compressed body")


def _undecodable(coding: str, reason: str) -> WriteRefused:
    return WriteRefused(RequestRefused(f"error decoding {coding} stream: {reason}"))
