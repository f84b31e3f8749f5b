"""Many appends, and records of every size: each gets an offset of its own, and none is lost."""

from concurrent.futures import Future
from typing import Any

import pytest

from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from writebuffer.conformance.background import in_background
from writebuffer.conformance.buffer import ONE, Buffer, numbers, offsets
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record, record_of_bytes, records
from writebuffer.errors import RecordTooLarge
from writebuffer.proving import HoldsBack
from writebuffer.record import RECORD_BYTES_MAX

TWO = SequencerId(1)


def test_ten_thousand_appends_each_get_their_own_offset(buffer: Buffer) -> None:
    """10,000 appends from four threads, none awaited, resolve with distinct offsets that match what is read there."""
    writer = buffer.writer()

    def append(start: int) -> dict[Offset, int]:
        futures = [writer.append(ONE, record(number)) for number in range(start, start + 2500)]
        return {buffer.result(future).offset: start + at for at, future in enumerate(futures)}

    acting = [in_background(lambda start=start: append(start)) for start in range(0, 10_000, 2500)]  # type: ignore[misc]
    resolved: dict[Offset, int] = {}
    for each in [buffer.result(future) for future in acting]:
        resolved.update(each)
    assert len(resolved) == 10_000, f"10,000 appends resolved with {len(resolved)} distinct offsets; each needs its own"
    found = buffer.read_all()
    assert dict(zip(offsets(found), numbers(found), strict=True)) == resolved, (
        "the records read at the offsets that the futures resolved with are not those that were appended"
    )


def test_records_of_every_size_come_back(buffer: Buffer) -> None:
    """Payloads from none at all to record_bytes_max, in turn with small ones, are read equal to the byte."""
    writer = buffer.writer()
    least = len(record(0, 0).header_block)
    sizes = [least, least + 1, 1000, 4096, 65_535, 65_536, 65_537, 300_000, RECORD_BYTES_MAX - 1, RECORD_BYTES_MAX]
    sent = []
    for size in sizes:
        sent += [record_of_bytes(buffer.next_numbers(1)[0], size), record(buffer.next_numbers(1)[0])]
    futures = [writer.append(ONE, one) for one in sent]
    buffer.settled(futures)
    found = buffer.read_all()
    assert [len(one) for _, one in found] == [len(one) for one in sent], (
        "records were read with other sizes than they were appended with"
    )
    assert found == [(future.result().offset, one) for future, one in zip(futures, sent, strict=True)]


@pytest.mark.parametrize("call", ["append", "append_many"])
def test_a_record_over_the_maximum_is_refused_and_nothing_written(buffer: Buffer, call: str) -> None:
    """One byte more than record_bytes_max is RecordTooLarge at the call; no record of the call is stored."""
    writer = buffer.writer()
    before = buffer.append(writer)
    at = buffer.next_numbers(2)
    small, large = record(at[0]), record_of_bytes(at[1], RECORD_BYTES_MAX + 1)
    with pytest.raises(RecordTooLarge) as raised:
        writer.append(ONE, large) if call == "append" else writer.append_many(ONE, [small, large])
    error = raised.value
    assert (error.sequencer, error.record_bytes, error.record_bytes_max) == (0, len(large), RECORD_BYTES_MAX)
    assert isinstance(error, InvalidRequest)
    more = buffer.append(writer)
    assert buffer.read_all() == before + more, (
        "after a refused call only the records before and after it may be read; one of the refused call was written"
    )


def test_an_append_many_of_large_records_is_read_whole(buffer: Buffer) -> None:
    """One call of more megabytes than fit into a single request to a server: all its records are read, in order."""
    writer = buffer.writer()
    sent = records(range(12), 900_000)
    span = buffer.result(writer.append_many(ONE, sent))
    found = buffer.read_all()
    assert [one for _, one in found] == sent
    assert (offsets(found)[0], offsets(found)[-1]) == (span.first.offset, span.last.offset)


def test_cancelling_changes_nothing_about_the_record(buffer: Buffer) -> None:
    """cancel() of an append's future is refused or has no effect: the record is stored, and other appends resolve."""
    writer = buffer.writer()
    sent = records(range(100))
    futures = [writer.append(ONE, one) for one in sent]
    for future in futures[::3]:
        future.cancel()
    buffer.result(in_background(lambda: writer.flush(buffer.patience_s)))
    assert not any(future.cancelled() for future in futures), (
        "a future said that its append was cancelled; cancel() must return False or have no effect"
    )
    assert [one for _, one in buffer.read_all()] == sent
    assert offsets(buffer.read_all()) == [buffer.result(future).offset for future in futures]


@pytest.mark.parametrize("held", [False, pytest.param(True, marks=needs(HoldsBack))], ids=["at once", "held back"])
def test_futures_resolve_in_the_order_of_the_appends(absent: Buffer, held: bool) -> None:
    """For each sequencer a writer's futures call back in the order of its calls, append and append_many alike."""
    writer = absent.create(2).writer()
    called_back: dict[SequencerId, list[int]] = {ONE: [], TWO: []}
    through: list[Future[None]] = []

    def append(call: int, sequencer: SequencerId) -> None:
        sent = records(absent.next_numbers(3))
        future: Future[Any] = writer.append_many(sequencer, sent) if call % 5 else writer.append(sequencer, sent[0])
        seen: Future[None] = Future()
        future.add_done_callback(lambda _: called_back[sequencer].append(call))
        future.add_done_callback(lambda _: seen.set_result(None))
        through.append(seen)

    if held:
        absent.gate.hold()
    for call in range(200):
        append(call, ONE)
        append(call, TWO)
    if held:
        absent.gate.release()
    absent.settled(through)
    for sequencer, calls in called_back.items():
        early = [call for call, before in zip(calls, sorted(calls), strict=True) if call > before]
        assert early == [], f"sequencer {sequencer}: appends {early[:5]} resolved before an earlier one of their writer"


def test_a_callback_that_raises_harms_no_other_append(buffer: Buffer) -> None:
    """A callback that raises is the caller's mistake: the record is stored, and later appends resolve."""
    writer = buffer.writer()
    futures = [writer.append(ONE, one) for one in records(buffer.next_numbers(20))]
    futures[0].add_done_callback(lambda _: 1 // 0)
    futures[10].add_done_callback(lambda _: 1 // 0)
    buffer.settled(futures)
    buffer.append(writer, 5)
    assert numbers(buffer.read_all()) == list(range(25))
