"""Records for tests of write buffers, those of the conformance suite; and reading them back."""

from collections.abc import Iterable

from common.values.clock import SystemClock
from common.values.ids import SequencerId
from writebuffer.conformance import samples
from writebuffer.conformance.samples import PRODUCER, TRACE_PARENT, number_of
from writebuffer.contract import Backend, Cursor
from writebuffer.record import Record

__all__ = ["PRODUCER", "TRACE_PARENT", "numbers", "read_all", "read_from", "record", "record_of_bytes", "records"]


def record(number: int, payload_bytes: int = 20, *, time_ns: int | None = None) -> Record:
    """As in the suite, but its append time is the number by default, which is easy to seek by."""
    return samples.record(number, payload_bytes, time_ns=number if time_ns is None else time_ns)


def records(numbers: Iterable[int], payload_bytes: int = 20) -> list[Record]:
    return [record(number, payload_bytes) for number in numbers]


def record_of_bytes(total_bytes: int) -> Record:
    """A record of exactly that many bytes, header block included."""
    return record(0, total_bytes - len(record(0).header_block))


def numbers(found: Iterable[Record]) -> list[int]:
    return [number_of(one) for one in found]


def read_from(cursor: Cursor, count: int, timeout_s: float = 10.0) -> list[tuple[int, Record]]:
    """Poll until `count` records came, or the timeout; (offset, record) in order."""
    clock = SystemClock()
    deadline_s = clock.monotonic_s() + timeout_s
    found: list[tuple[int, Record]] = []
    while len(found) < count and (left_s := deadline_s - clock.monotonic_s()) > 0:
        batch = cursor.poll(count - len(found), 2**30, left_s)
        found += [(one.offset, one.record) for one in batch.records]
    return found


def read_all(backend: Backend, sequencer: int = 0) -> list[tuple[int, Record]]:
    """Everything from the first to the next offset."""
    reader = backend.open_reader()
    offsets = reader.offsets(SequencerId(sequencer))
    at, end = offsets.first_offset, offsets.next_offset
    cursor = reader.cursor(SequencerId(sequencer))
    found: list[tuple[int, Record]] = []
    while at < end:  # without a poll of an empty log: under a FakeClock it would wait for ever
        batch = cursor.poll(1000, 2**30, 0.1)
        found += [(one.offset, one.record) for one in batch.records]
        at = batch.next_offset
    reader.close()
    return found
