"""Wrong calls: refused at the call, by an InvalidRequest that names what was asked; nothing is written."""

from typing import Any, cast

import pytest

from common.values.errors import InvalidRequest
from common.values.ids import SequencerId
from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.samples import record
from writebuffer.errors import MalformedRecord, UnknownSequencer
from writebuffer.record import Record


@pytest.mark.parametrize("sequencer", [-1, 2, 10**6])
def test_an_unknown_sequencer_is_named(absent: Buffer, sequencer: int) -> None:
    """Every call that takes a sequencer raises UnknownSequencer with its number and how many there are."""
    absent.create(2)
    writer, reader = absent.writer(), absent.reader()
    unknown = SequencerId(sequencer)
    for act in (
        lambda: writer.append(unknown, record(0)),
        lambda: writer.append_many(unknown, [record(0)]),
        lambda: reader.cursor(unknown),
        lambda: reader.offsets(unknown),
        lambda: reader.identity(unknown),
    ):
        with pytest.raises(UnknownSequencer) as raised:
            act()
        assert (raised.value.sequencer, raised.value.sequencers) == (sequencer, 2)
        assert isinstance(raised.value, InvalidRequest)
        assert str(sequencer) in str(raised.value)
    assert absent.read_all(0) == absent.read_all(1) == []


@pytest.mark.parametrize(
    "wrong",
    [
        b"bytes",
        None,
        Record(b"short", b""),
        Record(record(0).header_block + b"x", b""),
        Record(record(0).header_block, cast(Any, "text")),
        Record(b"\xff" * 60, b""),
    ],
    ids=["bytes", "nothing", "short header", "longer header than it says", "payload of text", "unknown version"],
)
def test_what_is_no_record_is_refused(buffer: Buffer, wrong: Any) -> None:
    """A malformed record would stop every reader: MalformedRecord at the call, and nothing of the call is written."""
    writer = buffer.writer()
    for act in (lambda: writer.append(ONE, wrong), lambda: writer.append_many(ONE, [record(0), wrong])):
        with pytest.raises(MalformedRecord):
            act()
    sent = buffer.append(writer)
    assert buffer.read_all() == sent


def test_an_append_many_of_nothing_is_refused(buffer: Buffer) -> None:
    """There is no first and last offset that it could resolve to."""
    writer = buffer.writer()
    with pytest.raises(MalformedRecord):
        writer.append_many(ONE, [])
    sent = buffer.append(writer)
    assert buffer.read_all() == sent


def test_a_list_changed_after_the_call_changes_nothing(buffer: Buffer) -> None:
    """append_many has copied the list: the caller may change it at once."""
    writer = buffer.writer()
    mine = [record(0), record(1)]
    future = writer.append_many(ONE, mine)
    mine[:] = [record(2)] * 5
    buffer.result(future)
    assert [one for _, one in buffer.read_all()] == [record(0), record(1)]
