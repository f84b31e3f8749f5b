"""Records to append: small, distinguishable, with every header set. A number is used once in a buffer.

A backend may treat a second record with the same producer and sequence as a repeat of the first, so two different
records of one test never share a number.
"""

from collections.abc import Iterable

from writebuffer.record import Record, RecordHeaders

PRODUCER = bytes(range(16))
TRACE_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
START_NS = 1_700_000_000_123_456_789
"""Append time of record 0; record n's is n ns later."""


def record(
    number: int, payload_bytes: int = 20, *, time_ns: int | None = None, producer_id: bytes = PRODUCER
) -> Record:
    """The record of that number: it is the producer's sequence, and the payload begins with it where there is room."""
    append_time_ns = START_NS + number if time_ns is None else time_ns
    headers = RecordHeaders("application/octet-stream", "metrics", producer_id, number, append_time_ns, TRACE_PARENT)
    return Record.of(headers, (b"%d:" % number).ljust(payload_bytes, b".")[:payload_bytes])


def records(numbers: Iterable[int], payload_bytes: int = 20) -> list[Record]:
    return [record(number, payload_bytes) for number in numbers]


def record_of_bytes(number: int, total_bytes: int) -> Record:
    """The record of that number with exactly so many bytes, header block included."""
    return record(number, total_bytes - len(record(number).header_block))


def number_of(one: Record) -> int:
    return one.headers.producer_sequence
