"""A few lines with settled columns are read without the strict parser, and as it reads them."""

from collections.abc import Sequence
from itertools import islice
from unittest.mock import patch

import pytest

from common.catalog.table_schema import TableSchema
from common.values.schema import ColumnType
from router.parsing.batch import BatchParser
from router.parsing.lines import few
from router.parsing.lines.odd import OddLines
from router.parsing.messages import Body
from tests.support.lines.equality import Batch, check

KNOWN = {
    "t": TableSchema(
        1,
        {
            "h": ColumnType.TAG,
            "f": ColumnType.FLOAT,
            "i": ColumnType.INTEGER,
            "u": ColumnType.UNSIGNED,
            "s": ColumnType.STRING,
            "b": ColumnType.BOOLEAN,
            'q"q': ColumnType.STRING,
        },
    )
}
GOOD = [
    b't,h=a u=1u,s="x",i=-1i,f=1.5,b=t 5',
    b't,h=a s="a, b=c \\" d\\\\",q"q="y" 5',
    b"t,h=a\\ b\\,c i=-9223372036854775808i,i=9223372036854775807i 7\r",
    b"t f=-.5e-3",
]


def odd_lines(parser: BatchParser, lines: Sequence[bytes]) -> int:
    """How many of these, all of them good, the strict parser reads."""
    with patch.object(OddLines, "read", autospec=True, side_effect=OddLines.read) as read:
        parsed = parser.parse("ns", [Body(b"\n".join(lines), 1, 0)], KNOWN)
    assert parsed.requests[0].accepted == len(lines)
    return read.call_count


def test_lines_with_settled_columns_are_not_read_strictly() -> None:
    """New series, strings, escapes and any order of keys are no hindrance; a new column is."""
    lines = [GOOD[0], GOOD[1].replace(b',q"q="y"', b""), GOOD[2].replace(b",i=9223372036854775807i", b""), GOOD[3]]
    parser = BatchParser(4)
    assert odd_lines(parser, lines) == 0
    assert odd_lines(parser, [*lines, b"t new=1"]) == 1


@pytest.mark.parametrize("line", GOOD)
def test_good_lines_are_read_as_the_model_says(line: bytes) -> None:
    """The first time and again, beside lines with other fields and tags."""
    check(Batch("ns", 1, [Body(b"\n".join([line, line, *GOOD, line]), 1_000, 9)], known=KNOWN))


VALUES = (
    b"1_0", b"+1", b"nan", b"inf", b"-inf", b"infinity", b"0x1", b"1e999", b"-1e999", b"1e-999", b"1e+5", b"1.", b".5",
    b".", b"-", b"-.5", b"1e5i", b"1.5i", b"--1i", b"-0i", b"00012i", b"9223372036854775808i", b"-9223372036854775809i",
    b"-4503599627370496i", b"18446744073709551615u", b"18446744073709551616u", b"-0u", b"-1u", b"1ii", b"i", b"u",
    b"1" * 5_000 + b"i", b"1" * 400, b"tRUE", b"True", b"f", b"\t1", b"1\t", b"1\x0b", b"1\x1c", b"\xd9\xa1",
    b"\xd9\xa1i", b'"x', b'x"', b'""', b'"', b'"x"y', b'"\\"', b'"\xff"', b'"\xc3"', b'"x"i', b"", b"=1",
    b"1=2", b"\\1", b'"\n"',
)  # fmt: skip


@pytest.mark.parametrize("field", ["f", "i", "u", "b", "s"])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value[:12]))
def test_values_that_python_would_read_otherwise_are_read_as_the_model_says(field: str, value: bytes) -> None:
    """Of each type, alone and between others, in a form that the lines before it had."""
    good = {"f": b"1", "i": b"1i", "u": b"1u", "b": b"t", "s": b'"z"'}
    forms = [
        b"t %b=%%b 5" % field.encode(),
        b't s="v",%b=%%b,s="w" 5' % field.encode(),
        b"t f=1,%b=%%b" % field.encode(),
    ]
    lines = [form % one for form in forms for one in (good[field], good[field], value, good[field])]
    check(Batch("ns", 1, [Body(b"\n".join(lines), 1, 0)], known=KNOWN))


@pytest.mark.parametrize(
    "line",
    [
        b"t f,1=i,2i", b"t f=1,i", b"t f=1=i,1i", b"t f=1,,i=1i", b"t f=1, i=1i", b"t f=1,i=1i,", b"t ,f=1,i=1i",
        b"t f=1,i=1i  5", b"t f=1,i=1i 5 ", b"t f=1,i=1i 5 6", b"t  f=1,i=1i", b" t f=1,i=1i", b"t f=1,i=1i -5",
        b"t f=1,i=1i 99999999999999999999", b"t f=1,i=1i 5x", b"t f=1,i=1i 1_0", b"t f=1,f=2", b"t f=1,time=2 5",
        b"t f=1,\\i=1i", b"t f\\=1,i=1i", b"t\\ f=1,i=1i", b"# t f=1,i=1i", b"t f=1,i=1i\r\r", b"t,h=a f=1,h=2",
        b't s="\xc3",q"q="\xa9"', b't q"q=1,s="x"',
    ],
)  # fmt: skip
def test_lines_that_are_almost_of_a_known_form_are_read_as_the_model_says(line: bytes) -> None:
    """Delimiters, blanks and times are not where the lines before have them."""
    before = [b"t f=1,i=1i", b"t f=1,i=1i 5", b"t f=1", b't s="x",q"q="y"', b"t,h=a f=1"]
    check(Batch("ns", 1, [Body(b"\n".join([*before, *before, line, *before]), 1, 0)], known=KNOWN))


def test_forms_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that each have other fields do not fill the memory with their forms."""
    monkeypatch.setattr(few, "FORMS_BYTES_MAX", 20_000)
    names = [f"f{number}" for number in range(50)]
    schema = TableSchema(1, dict.fromkeys(names, ColumnType.FLOAT))
    parser = BatchParser(1)
    for one in names:
        for other in names:
            if one != other:
                parser.parse("ns", [Body(f"t {one}=1,{other}=2".encode(), 1, 0)], {"t": schema})
    assert len(parser._forms) < 20


def test_where_forms_keep_missing_more_than_a_few_lines_are_read_all_at_once() -> None:
    """To learn a form for each line costs more: a piece in twenty shows whether it is still so."""
    names = [f"f{number:03}" for number in range(400)]
    news = {"t": TableSchema(1, dict.fromkeys(names, ColumnType.FLOAT))}
    pairs = ((one, other) for one in names for other in names if one < other)
    parser = BatchParser(1)
    sizes = []
    for _ in range(43):
        unlike = [f"t {one}=1,{other}=2 5".encode() for one, other in islice(pairs, 50)]
        check(Batch("ns", 1, [Body(b"\n".join(unlike), 1, 0)], news), parser=parser)
        sizes.append(len(parser._forms))
    assert sizes == [50] * 21 + [100] * 21 + [150]
