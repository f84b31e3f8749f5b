"""Faults on the way: acknowledgements that are lost, connections that break, a buffer that is full for a while.

They come from the wrappers of writebuffer/faults.py, by a seed, so that the suite meets on every backend what a caller
has to cope with. Each test makes sure that its fault struck: what this suite waits and reads with smooths none over.
"""

import random
import time

from common.errors import PenstockError, Unavailable
from common.ids import Offset
from writebuffer.conformance.buffer import ONE, Buffer, numbers
from writebuffer.conformance.samples import number_of, record, records
from writebuffer.contract import Writer
from writebuffer.faults import Faults, FaultyReader, FaultyWriter
from writebuffer.record import Record

SEED = 11
COUNT = 60


def test_what_is_sent_again_after_a_lost_acknowledgement_stands(buffer: Buffer) -> None:
    """The record stood although its append failed; sent again until told, each stands where it was told, unchanged."""
    writer = FaultyWriter(buffer.writer(), random.Random(SEED), Faults(lost_acknowledgement=0.4))
    told: set[tuple[Offset, Record]] = set()
    lost = 0
    for one in records(range(COUNT)):
        while error := buffer.error(future := writer.append(ONE, one)):
            lost += 1
            assert isinstance(error, Unavailable)
            assert error.written == "unknown"
            assert buffer.read_all()[-1][1] == one, "a record whose acknowledgement was lost is not there"
        told.add((future.result().offset, one))
    assert lost > COUNT // 4, "the suite did not see the acknowledgements that were lost"
    found = buffer.read_all()
    assert told <= set(found), "an append resolved to an offset at which its record does not stand"
    assert all(one == record(number_of(one)) for _, one in found), "a repeat was stored with other headers or payload"
    assert sorted(set(numbers(found))) == list(range(COUNT))
    assert len(found) <= COUNT + lost


def test_a_cursor_whose_polls_fail_now_and_then_passes_over_nothing(buffer: Buffer) -> None:
    """Polled again after each failure, with polls that return less than asked between, it returns every record once."""
    sent = buffer.append(buffer.writer(), COUNT)
    faults = Faults()
    cursor = FaultyReader(buffer.reader(), random.Random(SEED), lambda: faults).reader(ONE)
    faults = Faults(disconnected=0.3, short=0.3, empty=0.2)
    found: list[tuple[Offset, Record]] = []
    failed = 0
    deadline_s = time.monotonic() + buffer.patience_s
    while len(found) < COUNT and (left_s := deadline_s - time.monotonic()) > 0:
        try:
            found += [(one.offset, one.record) for one in buffer.poll(cursor, 3, timeout_s=left_s).records]
        except Unavailable:
            failed += 1
    assert failed > COUNT // 10, "the suite did not see the connections that broke"
    assert found == sent


def test_what_a_full_buffer_refused_is_not_there(buffer: Buffer) -> None:
    """Its append fails as `written: no` and the record is never read; the appends before and after stand, in order."""
    writer = FaultyWriter(buffer.writer(), random.Random(SEED), Faults(full=0.1, full_appends=5))
    stand, refused = _sorted_out(buffer, writer)
    assert len(refused) > COUNT // 10, "the suite did not see the appends that were refused"
    assert buffer.read_all() == stand


def _sorted_out(buffer: Buffer, writer: Writer) -> tuple[list[tuple[Offset, Record]], list[PenstockError]]:
    """What of some appends, sent without waiting, stands, and the errors of the others."""
    sent = records(buffer.next_numbers(COUNT))
    futures = [writer.append(ONE, one) for one in sent]
    buffer.settled(futures)
    stand = [(future.result().offset, one) for future, one in zip(futures, sent, strict=True) if not future.exception()]
    refused = [error for future in futures if (error := future.exception())]
    assert all(isinstance(error, Unavailable) and error.written == "no" for error in refused)
    return stand, [error for error in refused if isinstance(error, PenstockError)]
