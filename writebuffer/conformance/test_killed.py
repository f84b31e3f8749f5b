"""Durability: acknowledged records are read after their process was killed."""

from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.child import Line, line_of
from writebuffer.conformance.needs import needs
from writebuffer.conformance.samples import record
from writebuffer.contract import Durable

pytestmark = needs(Durable)

ACKNOWLEDGED = 300


def test_a_fresh_process_reads_all_that_a_killed_writer_acknowledged(buffer: Buffer) -> None:
    """After SIGKILL of a writer under load, each acknowledged record is read at its offset, in order, unchanged."""
    acknowledged = _written_by_a_killed_process(buffer, 0)
    found = buffer.child("read").rest_of_lines()
    assert _lost(acknowledged, found) == [], (
        "acknowledged records are missing or different after the kill: they were not durable"
    )
    assert [offset for offset, _, _ in found] == sorted({offset for offset, _, _ in found})
    numbers = [number for _, number, _ in found]
    assert numbers == list(range(len(numbers))), "the records of one writer are not the first it appended, in order"


def test_a_new_writer_goes_on_after_a_killed_one(buffer: Buffer) -> None:
    """Opened right after the kill, and killed again, writers reuse no offset and lose nothing of those before."""
    acknowledged: list[Line] = []
    for round_ in range(2):
        acknowledged += _written_by_a_killed_process(buffer, 100_000 * round_)
    one = record(900_000)
    acknowledged.append(line_of(buffer.result(buffer.writer().append(ONE, one)).offset, one))
    found = buffer.child("read").rest_of_lines()
    assert _lost(acknowledged, found) == [], (
        "acknowledged records are missing or different after the kills: they were not durable"
    )
    assert len({offset for offset, _, _ in acknowledged}) == len(acknowledged), "an offset was acknowledged twice"


def test_what_was_acknowledged_says_by_what_it_is_durable(buffer: Buffer) -> None:
    """`durability()` is a sentence for a log line."""
    writer = buffer.writer()
    assert isinstance(writer, Durable), "declares Durable, but its writer has no `durability`"
    assert len(writer.durability().split()) > 2, f"not a sentence: {writer.durability()!r}"


def _written_by_a_killed_process(buffer: Buffer, number: int) -> list[Line]:
    """Everything that was acknowledged to it, with the lines that it had printed when it was killed."""
    process = buffer.child("write", number)
    acknowledged = process.lines(ACKNOWLEDGED)
    assert len(acknowledged) == ACKNOWLEDGED, "the writing process ended by itself"
    process.kill()
    return acknowledged + process.rest_of_lines()


def _lost(acknowledged: list[Line], found: list[Line]) -> list[Line]:
    return sorted(set(acknowledged) - set(found))
