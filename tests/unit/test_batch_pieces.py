"""Where bodies are cut into pieces that are read at once changes nothing, and no text is read again and again."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from router.parsing import draft
from router.parsing.batch import BatchParser
from router.parsing.draft import NEW_TABLES_MAX
from router.parsing.lines import piece, text
from router.parsing.lines.odd import OddLines
from router.parsing.messages import Body, ParsedBatch
from tests.support.lines.equality import Batch, check


def parse(*bodies: bytes) -> ParsedBatch:
    return BatchParser(1).parse("ns", [Body(data, 1, 0) for data in bodies], {})


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_of_bodies_behind_a_line_of_over_a_piece_are_read(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """One line that is longer than a piece is refused alone: of the bodies behind it every line is stored."""
    monkeypatch.setattr(text, "PIECE_BYTES_MAX", 300)
    parsed = parse(b"x" * 350 + end, b"t f=1 1\n" * 30, b"t f=1 2\n" * 30)
    assert [lines.accepted for lines in parsed.requests] == [0, 30, 30]


@pytest.mark.parametrize("before", range(40))
def test_lines_begin_tables_in_their_order(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    """Of a body's new tables those of its first lines count, also where a neighbour began the later ones long ago."""
    monkeypatch.setattr(text, "PIECE_BYTES_MAX", 200)
    monkeypatch.setattr(draft, "NEW_TABLES_MAX", 10)
    neighbours = b"".join(b"a%d f=1 1\n" % number for number in range(9))
    unknown = b"".join(b"u%d f=1 1\n" % number for number in range(6))
    bodies = [neighbours * 3, b"a0 f=1 1\n" * before + unknown + neighbours]
    check(Batch("ns", 1, [Body(data, 1, 0) for data in bodies]))


def test_lines_of_many_new_tables_are_read_together_once_these_have_begun() -> None:
    """Only the lines that begin tables are read one by one, up to the last table that a request may begin."""
    lines = b"".join(b"t%d f=1\n" % (number % NEW_TABLES_MAX) for number in range(20 * NEW_TABLES_MAX))
    with patch.object(OddLines, "read", autospec=True, side_effect=OddLines.read) as read:
        parsed = parse(lines)
    assert parsed.requests[0].accepted == 20 * NEW_TABLES_MAX
    assert read.call_count < 3 * NEW_TABLES_MAX


def _one_new_column_among_lines_that_bring_none() -> Iterator[bytes]:
    for number in range(250):
        yield b"t%d f%d=1\n" % (number // 50, number)
        yield b"t0 bad=x\n" * 150


def test_text_is_not_looked_through_often_where_columns_come_one_by_one() -> None:
    """A piece that is given up early is followed by small ones: all of them together are a few times the body."""
    body = b"".join(_one_new_column_among_lines_that_bring_none())
    with patch.object(piece, "structure", side_effect=piece.structure) as structure:
        parsed = parse(body)
    assert parsed.requests[0].accepted == 250
    assert sum(len(call.args[0]) for call in structure.call_args_list) < 10 * len(body)
