"""The strict scalar parser: what a line says, and which lines are refused for which reason."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.values.schema import TIME_NS_MAX, TIME_NS_MIN, ColumnType
from router.lineprotocol import scalar
from router.lineprotocol.lines import split_lines
from router.lineprotocol.point import FieldValue, LineError, Point
from router.lineprotocol.scalar import parse_line
from tests.support.line_protocol import write_line

FLOAT, INTEGER, UNSIGNED = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.UNSIGNED
STRING, BOOLEAN = ColumnType.STRING, ColumnType.BOOLEAN


def point(table: str, tags: dict[str, str], fields: dict[str, FieldValue], time_ns: int | None = None) -> Point:
    return Point(table, tuple(sorted(tags.items())), fields, time_ns)


F1 = {"f": (FLOAT, 1.0)}

GOOD = [
    (b"m f=1", point("m", {}, F1)),
    (b"m f=1 17", point("m", {}, F1, 17)),
    (b"m f=1 -17", point("m", {}, F1, -17)),
    (b"m,b=2,a=1 f=1", point("m", {"a": "1", "b": "2"}, F1)),
    # blanks around the parts
    (b"  m f=1", point("m", {}, F1)),
    (b"\tm f=1", point("m", {}, F1)),
    (b"m  f=1   17  ", point("m", {}, F1, 17)),
    (b"m f=1\r", point("m", {}, F1)),
    (b'm f="x" 17\r', point("m", {}, {"f": (STRING, "x")}, 17)),
    # escapes
    (rb"a\,b\ c f=1", point("a,b c", {}, F1)),
    (rb"a\=b f=1", point(r"a\=b", {}, F1)),
    (rb"m,k\,\ \==v\,\ \= f=1", point("m", {"k, =": "v, ="}, F1)),
    (rb"m f\,\ \==1", point("m", {}, {"f, =": (FLOAT, 1.0)})),
    (rb"a\b\\c,t\u=\\v\w f=1", point(r"a\b\\c", {r"t\u": r"\\v\w"}, F1)),
    (rb"a\\ b f=1", point("a\\ b", {}, F1)),
    (rb"m,t=C:\\,x f=1", point("m", {"t": "C:\\,x"}, F1)),
    (rb"m f\q=1", point("m", {}, {r"f\q": (FLOAT, 1.0)})),
    (rb"m,t=a\=b f=1", point("m", {"t": "a=b"}, F1)),
    (rb"m\,t=v f=1", point("m,t=v", {}, F1)),
    (b"m,t=a\tb\x01 f=1", point("m", {"t": "a\tb\x01"}, F1)),
    (b'm,t="a" f=1', point("m", {"t": '"a"'}, F1)),
    (b'"m" "f"=1', point('"m"', {}, {'"f"': (FLOAT, 1.0)})),
    (b"#m,a#=# #=1", None),
    (b"m#,a#=# #=1", point("m#", {"a#": "#"}, {"#": (FLOAT, 1.0)})),
    # strings
    (b'm f=""', point("m", {}, {"f": (STRING, "")})),
    (b'm f="a b,c=d"', point("m", {}, {"f": (STRING, "a b,c=d")})),
    (rb'm f="\"\\\n\ ",g=1', point("m", {}, {"f": (STRING, '"\\\\n\\ '), "g": (FLOAT, 1.0)})),
    (b'm f="a\nb\r\nc" 5', point("m", {}, {"f": (STRING, "a\nb\r\nc")}, 5)),
    (b'm f="a\0b"', point("m", {}, {"f": (STRING, "a\0b")})),
    (b'm f="\\\\" 5', point("m", {}, {"f": (STRING, "\\")}, 5)),
    ('mä,ü=ö ß="→" 5'.encode(), point("mä", {"ü": "ö"}, {"ß": (STRING, "→")}, 5)),
    # numbers and booleans
    (b"m f=-0.5e-3,g=1E5,h=1e+5", point("m", {}, {"f": (FLOAT, -0.0005), "g": (FLOAT, 1e5), "h": (FLOAT, 1e5)})),
    (b"m f=-9223372036854775808i", point("m", {}, {"f": (INTEGER, -(2**63))})),
    (b"m f=9223372036854775807i", point("m", {}, {"f": (INTEGER, 2**63 - 1)})),
    (b"m f=18446744073709551615u", point("m", {}, {"f": (UNSIGNED, 2**64 - 1)})),
    (b"m f=000000000000000000000000000000017i", point("m", {}, {"f": (INTEGER, 17)})),
    (b"m f=.5,g=-.5", point("m", {}, {"f": (FLOAT, 0.5), "g": (FLOAT, -0.5)})),
    (b"m f=1.,g=1.e5", point("m", {}, {"f": (FLOAT, 1.0), "g": (FLOAT, 1e5)})),
    (b"m f=007,g=-0,h=-0i", point("m", {}, {"f": (FLOAT, 7.0), "g": (FLOAT, -0.0), "h": (INTEGER, 0)})),
    (b"m f=1e-999", point("m", {}, {"f": (FLOAT, 0.0)})),
    (b"m f=1i,f=2.5", point("m", {}, {"f": (FLOAT, 2.5)})),
    # fields with a reserved name are left out
    (b"m time=5,f=1", dataclasses.replace(point("m", {}, F1), dropped=["time"])),
    (b'm utc_day="x",f=1,time=t 7', dataclasses.replace(point("m", {}, F1, 7), dropped=["time", "utc_day"])),
    (b"m Time=1", point("m", {}, {"Time": (FLOAT, 1.0)})),
    # the ends of time
    (f"m f=1 {TIME_NS_MIN}".encode(), point("m", {}, F1, TIME_NS_MIN)),
    (f"m f=1 {TIME_NS_MAX}".encode(), point("m", {}, F1, TIME_NS_MAX)),
    # nothing to say
    (b"", None),
    (b" \t ", None),
    (b"\r", None),
    (b"# m f=1", None),
    (b"  #", None),
]


@pytest.mark.parametrize(("line", "expected"), GOOD, ids=[repr(line)[:50] for line, _ in GOOD])
def test_a_good_line_says_exactly_this(line: bytes, expected: Point | None) -> None:
    """Names, tags, typed fields and time are those written, unescaped; comments and blanks say nothing."""
    assert parse_line(line, 1) == expected


@pytest.mark.parametrize("text", ["t", "T", "true", "True", "TRUE"])
def test_every_spelling_of_true_is_true(text: str) -> None:
    """The five spellings of true are booleans, and their counterparts are false."""
    other = {"t": "f", "T": "F", "true": "false", "True": "False", "TRUE": "FALSE"}[text]
    parsed = parse_line(f"m a={text},b={other}".encode(), 1)
    assert parsed is not None
    assert parsed.fields == {"a": (BOOLEAN, True), "b": (BOOLEAN, False)}


BAD = [
    (b"m", "missing fields"),
    (b"m ", "missing fields"),
    (b"m,t=v", "missing fields"),
    (b",t=v f=1", "missing measurement"),
    (b"m, f=1", "missing tag after a comma"),
    (b"m,t f=1", "tag 't' has no value"),
    (b"m,t= f=1", "tag 't' has an empty value"),
    (b"m,=v f=1", "missing tag key"),
    (b"m,a=1,b=2,a=3 f=1", "tag 'a' occurs twice"),
    (b"m,f=x f=1", "'f' is a tag and a field"),
    (b"m,time=x f=1", "tag 'time': the name is reserved"),
    (b"m,utc_day=x f=1", "tag 'utc_day': the name is reserved"),
    (b"m time=1", "missing fields: the name 'time' is reserved"),
    (b"m utc_day=1,time=2", "missing fields: the name 'time' and 'utc_day' is reserved"),
    (b"m time=oops,f=1", "'oops' is not a number"),
    # a backslash at the end of a name or value swallows what follows it
    (
        rb"m,path=C:\,unit=G v=1 1",
        r"tag 'path': the value 'C:\,unit=G' has an unescaped '=': the backslash before the comma",
    ),
    (
        rb"h2o,location=a\\,region=b v=1",
        r"the value 'a\\,region=b' has an unescaped '=': the backslash before the comma",
    ),
    (rb"m,path=C:\,unit=G v=1 1", "leave that backslash out or write another character for it"),
    (rb"m,path=C:\ v=1 1", r"the value 'C:\ v=1' has an unescaped '=': the backslash before the space"),
    (rb"m,path=C:\ v=1", "missing fields: the backslash before the space escapes it"),
    (rb'm,a=b,path=C:\ s="x y=1" 1', "the backslash before the space"),
    (b"m,t=a=b f=1", "tag 't': the value 'a=b' has an unescaped '=': write it as \\="),
    (b"m,t==b f=1", "unescaped '='"),
    (b"m,t=b= f=1", "unescaped '='"),
    (rb"m\ f=1 5", "'5' is not a field"),
    (rb"m f\=1", "is not a field"),
    (rb"m f\=1,g=2", "is not a field"),
    (rb"m f=1\ 5", "is not a number"),
    (b"m f", "'f' is not a field"),
    (b"m f=", "missing field value"),
    (b"m =1", "missing field key"),
    (b'm ="x"', "missing field key"),
    (b"m f=1,", "missing field after a comma"),
    (b'm f="x",', "missing field after a comma"),
    (b"m f=1, g=2", "missing field after a comma"),
    (b"m f=1=2", "field value '1=2'"),
    (b"m f = 1", "'f' is not a field"),
    *[
        (b"m f=" + number, "is not a number")
        for number in (
            b"0x1 nan NaN inf -inf Infinity . -. 1.1.1 1e 1e+ e5 .e5 +1 +1i +.5 1_0 -- 1f"
            b" 1I 1U tRUE yes null - i u 1.5i 1.i 1e3i -0u -1u 1.5u i1 9i10"
        ).split()
    ],
    ("m f=١".encode(), "is not a number"),
    (b"m f=1e999", "out of a float's range"),
    (b"m f=9223372036854775808i", "is outside"),
    (b"m f=-9223372036854775809i", "is outside"),
    (b"m f=18446744073709551616u", "is outside"),
    (b"m f=" + b"9" * 5000 + b"i", "is outside"),
    (b'm f="x', "no closing quote"),
    (rb'm f="x\"', "no closing quote"),
    (b'm f="x"y', "after the closing quote"),
    (b'm f="x""y"', "after the closing quote"),
    (b"m f=x y", "is not a number"),
    (b"m f=1 x", "not a whole number"),
    (b"m f=1 1.5", "not a whole number"),
    (b"m f=1 +5", "not a whole number"),
    (b"m f=1 5 6", "not a whole number"),
    (b"m f=1 5i", "not a whole number"),
    (b"m f=1 " + b"1" * 5000, "is outside"),
    (f"m f=1 {TIME_NS_MAX + 1}".encode(), "is the precision right"),
    (f"m f=1 {TIME_NS_MIN - 1}".encode(), "is the precision right"),
    (rb"m\ f=1", "missing fields"),
    (rb"m,t=v\ f=1", "missing fields"),
    (b"m,t=v\\", "missing fields"),
    (b"\rm f=1", "contains the control character '\\r'"),
    (b"m,t=a\rb f=1", "contains the control character '\\r'"),
    (b"m,t=a\nb f=1", "contains the control character '\\n'"),
    (b"m f=1\r 5", "is not a number"),
    (b"m f\r=1", "contains the control character '\\r'"),
    (b"m\t f=1", "measurement 'm\\t' contains the control character '\\t'"),
    (b"m,a\x01=1 f=1", "tag key 'a\\x01' contains the control character '\\x01'"),
    (b"m f\x1f=1", "field key 'f\\x1f' contains the control character '\\x1f'"),
    (b"m\0 f=1", "contains the control character '\\x00'"),
    (b"m,t=\0 f=1", "contains the control character '\\x00'"),
    (b"m f\0=1", "contains the control character '\\x00'"),
    (b"m f=1\0", "is not a number"),
    (b"m\xff f=1", "invalid UTF-8: byte 0xff"),
    (b"m,t=\xc3\x28 f=1", "invalid UTF-8"),
    (b"m f\xed\xa0\x80=1", "invalid UTF-8"),
    (b'm f="\xc0\x80"', "invalid UTF-8"),
    (b'm f="' + b"x" * (scalar.STRING_BYTES_MAX + 1) + b'"', "is over 65536"),
    (b"m,t=" + b"x" * (scalar.NAME_BYTES_MAX + 1) + b" f=1", "is over 65535"),
    (b"m f=1" + b" " * scalar.LINE_BYTES_MAX, "is over 524288"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[repr(line)[:50] for line, _ in BAD])
def test_a_bad_line_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    """A line that the protocol does not allow is refused, and the reason names what is wrong."""
    with pytest.raises(LineError) as refused:
        parse_line(line, 1)
    assert reason in refused.value.reason


@pytest.mark.parametrize("raw", [b"m\\", b"m,t=v\\", b"m,t\\=v"])
def test_a_name_that_ends_in_a_backslash_is_refused(raw: bytes) -> None:
    """No measurement, key or tag value ends in a backslash; it would swallow the delimiter after it."""
    with pytest.raises(LineError):
        scalar.parse_series(raw)


def test_limits_themselves_are_allowed() -> None:
    """A string, a name and a line of exactly the largest size are accepted."""
    string = b'm f="' + b"x" * scalar.STRING_BYTES_MAX + b'"'
    name = b"m,t=" + b"x" * scalar.NAME_BYTES_MAX + b" f=1"
    line = b"m f=1".ljust(scalar.LINE_BYTES_MAX)
    assert all(parse_line(good, 1) for good in (string, name, line))


@pytest.mark.parametrize("precision_ns", [1_000, 1_000_000, 1_000_000_000])
def test_precision_multiplies_and_overflow_is_refused(precision_ns: int) -> None:
    """A timestamp counts in units of the precision; one whose product leaves InfluxDB's range is refused."""
    last = TIME_NS_MAX // precision_ns
    parsed = parse_line(f"m f=1 {last}".encode(), precision_ns)
    assert parsed is not None
    assert parsed.time_ns == last * precision_ns
    with pytest.raises(LineError, match="outside the years"):
        parse_line(f"m f=1 {last + 1}".encode(), precision_ns)


def test_a_message_shows_only_the_start_of_what_is_wrong() -> None:
    """A refusal of a huge token stays short."""
    with pytest.raises(LineError) as refused:
        parse_line(b"m f=" + b"x" * 100_000, 1)
    assert len(refused.value.reason) < 200


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "token", [b"%si", b"%su", b"-%si", b"%s.%s", b"%s.%sx", b"1e%sx", b".%sx", b"%se", b'"%s', b"\\%s"]
)
def test_the_cost_of_a_long_value_is_in_proportion_to_its_length(token: bytes) -> None:
    """A value of hundreds of thousands of digits is decided at once, whatever follows: no pattern starts over."""
    digits = b"9" * (scalar.LINE_BYTES_MAX // 2 - 10)
    with pytest.raises(LineError):
        parse_line(b"m f=" + token.replace(b"%s", digits), 1)


LINES = [
    (b"a\nb\n", [(1, b"a"), (2, b"b"), (3, b"")]),
    (b"a\r\nb", [(1, b"a\r"), (2, b"b")]),
    (b'm f="x\ny" 1\nm f=1', [(1, b'm f="x\ny" 1'), (3, b"m f=1")]),
    (b'm f="x\n\n",g="\n"\nn f=1\n', [(1, b'm f="x\n\n",g="\n"'), (5, b"n f=1")]),
    (rb'm f="x\"' + b'\ny"\nn f=1', [(1, rb'm f="x\"' + b'\ny"'), (3, b"n f=1")]),
    (b'm f="x\\\\"\nn f=1', [(1, b'm f="x\\\\"'), (2, b"n f=1")]),
    (b'm f="x\\\ny"\nn f=1', [(1, b'm f="x\\\ny"'), (3, b"n f=1")]),
    # a string that never closes costs its own line alone
    (b'm f="x\nn f=1\no f=2', [(1, b'm f="x'), (2, b"n f=1"), (3, b"o f=2")]),
    # quotes that open nothing
    (b'm,t=" f=1\nn,t=" f=1', [(1, b'm,t=" f=1'), (2, b'n,t=" f=1')]),
    (b'm,t="\nn f="x"', [(1, b'm,t="'), (2, b'n f="x"')]),
    (b'# say f="\nn f="x"', [(1, b'# say f="'), (2, b'n f="x"')]),
    (b'm f\\="\nn f="x"', [(1, b'm f\\="'), (2, b'n f="x"')]),
    (b'm f"=1\nn f="x"', [(1, b'm f"=1'), (2, b'n f="x"')]),
    (b'm\\ n,t=="x\ny" f=1', [(1, b'm\\ n,t=="x'), (2, b'y" f=1')]),
    (b'm f=1\\\nn f="x"', [(1, b"m f=1\\"), (2, b'n f="x"')]),
    (b'  m f="x\ny"', [(1, b'  m f="x\ny"')]),
]


@pytest.mark.parametrize(("body", "expected"), LINES, ids=[repr(body)[:50] for body, _ in LINES])
def test_a_newline_ends_a_line_unless_it_is_in_a_string(body: bytes, expected: list[tuple[int, bytes]]) -> None:
    """Lines end at newlines outside string values, and numbers count every newline."""
    assert list(split_lines(body)) == expected


def fits_value(value: str) -> bool:
    return not (set(value) & set("\0\r\n")) and not value.endswith("\\")


def fits(name: str) -> bool:
    return fits_value(name) and min(name) >= " " and name not in ("time", "utc_day")


awkward = st.text(st.one_of(st.sampled_from(",= \"\\#tni'ä"), st.characters(codec="utf-8")), min_size=1, max_size=12)
names = awkward.filter(fits)
tag_values = awkward.filter(fits_value)
tables = names.filter(lambda name: name[0] not in "# \t")
values: st.SearchStrategy[FieldValue] = st.one_of(
    st.tuples(st.just(FLOAT), st.floats(allow_nan=False, allow_infinity=False)),
    st.tuples(st.just(INTEGER), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(UNSIGNED), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(STRING), st.one_of(st.text(max_size=20), st.text('"\\,= \n\r\0', max_size=8))),
    st.tuples(st.just(BOOLEAN), st.booleans()),
)


@st.composite
def points(draw: st.DrawFn) -> Point:
    keys = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    tags = keys[: draw(st.integers(0, len(keys) - 1))]
    return point(
        draw(tables),
        {key: draw(tag_values) for key in tags},
        {key: draw(values) for key in keys[len(tags) :]},
        draw(st.one_of(st.none(), st.integers(TIME_NS_MIN, TIME_NS_MAX))),
    )


@given(points())
def test_a_written_point_is_parsed_back_equal(written: Point) -> None:
    """For any names and values of a point, writing it with the protocol's escapes and parsing gives it back."""
    assert parse_line(write_line(written), 1) == written


@given(st.lists(points(), max_size=5))
def test_a_body_of_written_points_is_cut_into_their_lines(written: list[Point]) -> None:
    """Newlines inside string values never cut a line, and those between lines always do."""
    lines = [write_line(one) for one in written]
    assert [line for _, line in split_lines(b"\n".join(lines)) if line] == lines


@given(st.one_of(st.binary(max_size=60), st.text(' ,="\\\n\r#i1t-.e', max_size=40).map(str.encode)))
def test_any_bytes_are_a_point_or_refused(line: bytes) -> None:
    """No bytes at all raise anything but LineError, and what is accepted is complete and in range."""
    try:
        parsed = parse_line(line, 1)
    except LineError:
        return
    if parsed is not None:
        assert parsed.table
        assert parsed.fields
        assert all(key and value for key, value in parsed.tags)
        assert not any(kind is FLOAT and not math.isfinite(value) for kind, value in parsed.fields.values())
