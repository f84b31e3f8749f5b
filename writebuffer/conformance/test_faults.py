"""Faults on the way: acknowledgements that are lost, connections that break, a buffer that is full for a while.

The wrappers of writebuffer/faults.py make them from a seed, so that every backend is tested with what a caller must
handle. Each test checks that its fault occurred: the helpers of this suite must not hide it.
"""

import random
import time

from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset
from writebuffer.conformance.buffer import ONE, Buffer, numbers
from writebuffer.conformance.samples import number_of, record, records
from writebuffer.contract import Writer
from writebuffer.faults import Faults, FaultyReader, FaultyWriter
from writebuffer.record import Record

SEED = 11
COUNT = 60


def test_what_is_sent_again_after_a_lost_acknowledgement_exists(buffer: Buffer) -> None:
    """The record exists although its append failed; sent again until one resolves, it is read there, unchanged."""
    writer = FaultyWriter(buffer.writer(), random.Random(SEED), Faults(lost_acknowledgement=0.4))
    resolved: set[tuple[Offset, Record]] = set()
    lost = 0
    for one in records(range(COUNT)):
        while error := buffer.error(future := writer.append(ONE, one)):
            lost += 1
            assert isinstance(error, Unavailable)
            assert error.written == "unknown"
            assert buffer.read_all()[-1][1] == one, (
                "a record is not read whose append failed with written='unknown' because its acknowledgement was lost"
            )
        resolved.add((future.result().offset, one))
    assert lost > COUNT // 4, (
        f"only {lost} lost acknowledgements were seen, the wrapper makes more: the suite hides them"
    )
    found = buffer.read_all()
    assert resolved <= set(found), "an append resolved to an offset at which its record is not read"
    assert all(one == record(number_of(one)) for _, one in found), "a repeat is read with other headers or payload"
    assert sorted(set(numbers(found))) == list(range(COUNT))
    assert len(found) <= COUNT + lost


def test_a_cursor_whose_polls_fail_now_and_then_skips_nothing(buffer: Buffer) -> None:
    """Polled again after each failure, also after polls that return less than asked, it returns every record once."""
    sent = buffer.append(buffer.writer(), COUNT)
    faults = Faults()
    cursor = FaultyReader(buffer.reader(), random.Random(SEED), lambda: faults).cursor(ONE)
    faults = Faults(disconnected=0.3, short=0.3, empty=0.2)
    found: list[tuple[Offset, Record]] = []
    failed = 0
    deadline_s = time.monotonic() + buffer.patience_s
    while len(found) < COUNT and (left_s := deadline_s - time.monotonic()) > 0:
        try:
            found += [(one.offset, one.record) for one in buffer.poll(cursor, 3, timeout_s=left_s).records]
        except Unavailable:
            failed += 1
    assert failed > COUNT // 10, (
        f"only {failed} broken connections were seen, the wrapper makes more: the suite hides them"
    )
    assert found == sent


def test_what_a_full_buffer_refused_is_not_there(buffer: Buffer) -> None:
    """Its append fails as `written: no`, the record is never read, and the records before and after are, in order."""
    writer = FaultyWriter(buffer.writer(), random.Random(SEED), Faults(full=0.1, full_appends=5))
    stored, refused = _sorted_out(buffer, writer)
    assert len(refused) > COUNT // 10, (
        f"only {len(refused)} refused appends were seen, the wrapper makes more: the suite hides them"
    )
    assert buffer.read_all() == stored


def _sorted_out(buffer: Buffer, writer: Writer) -> tuple[list[tuple[Offset, Record]], list[PenstockError]]:
    """Send appends without waiting. Returns the records that were acknowledged, and the errors of the others."""
    sent = records(buffer.next_numbers(COUNT))
    futures = [writer.append(ONE, one) for one in sent]
    buffer.settled(futures)
    done = [(future.result().offset, one) for future, one in zip(futures, sent, strict=True) if not future.exception()]
    refused = [error for future in futures if (error := future.exception())]
    assert all(isinstance(error, Unavailable) and error.written == "no" for error in refused)
    return done, [error for error in refused if isinstance(error, PenstockError)]
