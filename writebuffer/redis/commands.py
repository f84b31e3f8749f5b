"""A batch of records as the command that appends it, and what else is packed into bytes for the scripts."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from writebuffer.record import Record
from writebuffer.redis.keys import Keys
from writebuffer.redis.scripts import APPEND

OWN_PIECE_BYTES = 32 * 2**10
"""A payload from here on is sent as it is: copying it would cost more than one more system call."""

_FIELDS = struct.Struct("<16sQq")
_FIELDS_AT = 8
"""Producer id, producer sequence and append time in a header block (docs/formats/record.md)."""
_SEQUENCE = struct.Struct(">Q")
_RUN = struct.Struct(">16sQQI")
_TIME = struct.Struct(">q")
_TIME_MIN, _TIME_MAX = -(2**63), 2**63 - 1


def pack_time(time_ns: int) -> bytes:
    return _TIME.pack(max(_TIME_MIN, min(_TIME_MAX, time_ns)))


def unpack_time(packed: bytes) -> int:
    time_ns: int = _TIME.unpack(packed)[0]
    return time_ns


@dataclass(frozen=True, slots=True)
class Runs:
    """A batch's records as runs of consecutive sequences of one producer, and its greatest append time."""

    packed: bytes
    last: bytes
    """Producer and sequence of the batch's last record: what the batch after it must find."""
    greatest_time_ns: int

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Runs":
        runs: list[bytes] = []
        producer, low, expected, greatest = b"", 0, -1, _TIME_MIN
        for record in records:
            found, sequence, time_ns = _FIELDS.unpack_from(record.header_block, _FIELDS_AT)
            if time_ns > greatest:
                greatest = time_ns
            if sequence != expected or found != producer:
                if expected >= 0:
                    runs.append(_RUN.pack(producer, low, expected - 1, expected - low))
                producer, low = found, sequence
            expected = sequence + 1
        runs.append(_RUN.pack(producer, low, expected - 1, expected - low))
        return cls(b"".join(runs), producer + _SEQUENCE.pack(expected - 1), greatest)


def append_command(
    keys: Keys,
    identity: bytes,
    known_next: int,
    doubt: int | None,
    after: bytes,
    runs: Runs,
    records: Sequence[Record],
) -> list[bytes]:
    """APPEND for one batch, in pieces to send one after the other. The arguments are described in the script."""
    since = b"" if doubt is None else b"%d" % doubt
    time = _TIME.pack(runs.greatest_time_ns)
    fixed = APPEND.call(keys, identity, b"%d" % known_next, since, after, time, runs.packed)
    parts = [b"*%d\r\n" % (len(fixed) + len(records))]
    for argument in fixed:
        parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    pieces: list[bytes] = []
    for record in records:
        parts += (b"$%d\r\n" % len(record), record.header_block)
        if len(record.payload) < OWN_PIECE_BYTES:
            parts += (record.payload, b"\r\n")
        else:
            pieces += (b"".join(parts), record.payload)
            parts = [b"\r\n"]
    return [*pieces, b"".join(parts)]


def wait_command(replicas: int, timeout_s: float) -> bytes:
    replicas_text, ms_text = b"%d" % replicas, b"%d" % max(1, round(timeout_s * 1000))
    return b"*3\r\n$4\r\nWAIT\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(replicas_text),
        replicas_text,
        len(ms_text),
        ms_text,
    )
