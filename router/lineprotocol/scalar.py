"""The strict parser of one line of InfluxDB's line protocol: the reference for any faster one.

    measurement[,tag=value…] field=value[,field=value…] [timestamp]

Escapes. `\\,` and `\\ ` in a measurement, these and `\\=` in keys and tag values, `\\"` and `\\\\` in strings; a
backslash before anything else is a backslash. Outside strings a comma, space or equals sign is therefore escaped iff
the byte before it is a backslash, however many come before that one (so do InfluxDB 1.x and its client libraries,
which never double a backslash in a name).
docs/api.md has the tables: numbers, characters, limits, reserved names. Of a field that occurs twice the last one
counts.
"""

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from common.values.schema import RESERVED_COLUMNS, TIME_NS_MAX, TIME_NS_MIN, ColumnType
from common.values.shown import shown
from router.lineprotocol.point import Fields, FieldValue, LineError, Point, Series

LINE_BYTES_MAX = 512 * 1024
"""So that a row always fits a record, whose bytes_max is 1,000,000."""

STRING_BYTES_MAX = 64 * 1024
NAME_BYTES_MAX = 65_535
"""What an entry can name; InfluxDB's limit of a series key."""

_UNESCAPED_SPACE = re.compile(rb"(?<!\\) ")
_UNESCAPED_COMMA = re.compile(rb"(?<!\\),")
_UNESCAPED_EQUALS = re.compile(rb"(?<!\\)=")
_MEASUREMENT_ESCAPE = re.compile(rb"\\([, ])")
_KEY_ESCAPE = re.compile(rb"\\([, =])")
_ESCAPED_DELIMITER = re.compile(rb"\\[, ]")
_STRING_ESCAPE = re.compile(rb'\\(["\\])')
_FIELD_KEY = re.compile(rb"((?:[^\\,= ]++|\\[,= ]?+)*+)=")
_BARE = re.compile(rb"[^, ]*+")

_FLOAT = re.compile(rb"-?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+")
"""Possessive throughout: with the digits of a long token shared out between two repeats in every way there is, a line
of the largest size would take hours."""
_WHOLE = re.compile(rb"-?[0-9]+")
_NATURAL = re.compile(rb"[0-9]+")
STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
BOOLEANS = dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), True) | dict.fromkeys(
    (b"f", b"F", b"false", b"False", b"FALSE"), False
)
GUESSED_PRECISION = 0
"""In place of a precision: each timestamp's size says what it counts, as InfluxDB 3's `auto` does."""

_DIGITS_MAX = 20
"""Of any number that fits 64 bits. Python refuses to convert thousands of digits, with an error of its own."""

_COMMON_KEY_BYTES_MAX = 256
"""Field keys up to here are remembered: the same few come on every line. Longer ones would fill the memory."""

_UNFIT_IN_NAMES = re.compile(r"[\0-\x1f]")
_UNFIT_IN_VALUES = re.compile(r"[\0\r\n]")
"""A tag's value is data, which may well hold a tab; a name is typed and printed."""


def parse_line(line: bytes, precision_ns: int) -> Point | None:
    """The point that `line` (without its newline; a `\\r` at its end is fine) says; None for a blank line or a comment.

    precision_ns: nanoseconds of one unit of the line's timestamp, or GUESSED_PRECISION. Raises LineError.
    """
    parts = split_line(line)
    if parts is None:
        return None
    series = parse_series(parts[0])
    fields, time_ns, dropped = parse_fields(parts[1], precision_ns)
    check_distinct((key for key, _ in series.tags), fields)
    return Point(series.table, series.tags, fields, time_ns, dropped)


def split_line(line: bytes) -> tuple[bytes, bytes] | None:
    """The parts before and after the first unescaped space; None for a blank line or a comment. Raises LineError."""
    line = line.removesuffix(b"\r").lstrip(b" \t")
    if not line or line.startswith(b"#"):
        return None
    if len(line) > LINE_BYTES_MAX:
        raise LineError(f"line of {len(line)} bytes is over {LINE_BYTES_MAX}")
    at = line.find(b" ")
    if at > 0 and line[at - 1] == ord("\\"):
        space = _UNESCAPED_SPACE.search(line)
        at = space.start() if space else -1
    if at < 0:
        raise _no_space(line)
    return line[:at], line[at + 1 :]


def _no_space(line: bytes) -> LineError:
    if b"\\ " in line:
        return LineError(
            "missing fields: the backslash before the space escapes it; a name or tag value cannot end in a backslash"
        )
    return LineError("missing fields")


def parse_series(raw: bytes) -> Series:
    """The series of `measurement,tag=value,…`. Raises LineError."""
    measurement, *tags = _UNESCAPED_COMMA.split(raw) if b"\\" in raw else raw.split(b",")
    table = _text("measurement", measurement, _MEASUREMENT_ESCAPE, _UNFIT_IN_NAMES)
    pairs = tuple(sorted(map(_tag, tags)))
    for (key, _), (other, _) in pairwise(pairs):
        if key == other:
            raise LineError(f"tag {shown(key)} occurs twice")
    return Series(table, pairs)


def check_distinct(tag_keys: Iterable[str], fields: Fields) -> None:
    """Raises LineError where one name is a tag and a field."""
    for key in tag_keys:
        if key in fields:
            raise LineError(f"{shown(key)} is a tag and a field")


def _tag(raw: bytes) -> tuple[str, str]:
    if b"\\" in raw:
        key, *value = _UNESCAPED_EQUALS.split(raw, maxsplit=1)
    else:
        key, *value = raw.split(b"=", 1)
    if not value:
        raise LineError(f"tag {shown(raw)} has no value" if raw else "missing tag after a comma")
    name = _text("tag key", key, _KEY_ESCAPE, _UNFIT_IN_NAMES)
    if not value[0]:
        raise LineError(f"tag {shown(name)} has an empty value")
    if b"=" in value[0] and _UNESCAPED_EQUALS.search(value[0]):
        raise _equals_in_value(name, value[0])
    if name in RESERVED_COLUMNS:
        raise LineError(f"tag {shown(name)}: the name is reserved; rename the tag")
    return name, _text("tag value", value[0], _KEY_ESCAPE, _UNFIT_IN_VALUES)


def _equals_in_value(name: str, value: bytes) -> LineError:
    """Almost always the work of a value that ends in a backslash, such as `C:\\`, before the next tag or the fields."""
    problem = f"tag {shown(name)}: the value {shown(value)} has an unescaped '='"
    if swallowed := _ESCAPED_DELIMITER.search(value, 0, value.rindex(b"=")):
        delimiter = "comma" if swallowed[0].endswith(b",") else "space"
        return LineError(
            f"{problem}: the backslash before the {delimiter} escapes it, and a tag value cannot end in a backslash; "
            f"leave that backslash out or write another character for it, and write a '=' of the value as \\="
        )
    return LineError(f"{problem}: write it as \\=")


def parse_fields(raw: bytes, precision_ns: int) -> tuple[Fields, int | None, Sequence[str]]:
    """Fields and time of what follows the series, and the reserved names whose fields were left out. Raises LineError.

    A field `time` or `utc_day` must be well-formed, and is then dropped: InfluxDB 1 and 2 do so with `time`.
    """
    raw = raw.lstrip(b" ")
    if not raw:
        raise LineError("missing fields")
    if b'"' in raw or b"\\" in raw:
        fields, timestamp = _scan_fields(raw)
    else:
        section, _, timestamp = raw.partition(b" ")
        fields = dict(map(_plain_field, section.split(b",")))
    dropped = () if RESERVED_COLUMNS.isdisjoint(fields) else _drop_reserved(fields)
    return fields, parse_time_ns(timestamp.strip(b" "), precision_ns), dropped


def _drop_reserved(fields: dict[str, FieldValue]) -> Sequence[str]:
    dropped = sorted(RESERVED_COLUMNS & fields.keys())
    for name in dropped:
        del fields[name]
    if not fields:
        raise LineError(f"missing fields: the name {' and '.join(map(repr, dropped))} is reserved; rename the field")
    return dropped


def _plain_field(pair: bytes) -> tuple[str, FieldValue]:
    key, equals, value = pair.partition(b"=")
    if not equals:
        raise _no_field(pair)
    return field_key(key), _bare_value(value)


def _scan_fields(raw: bytes) -> tuple[dict[str, FieldValue], bytes]:
    """Fields, and what follows them. For sections with quotes or backslashes, one field after another."""
    fields: dict[str, FieldValue] = {}
    at = 0
    while True:
        key = _FIELD_KEY.match(raw, at)
        if key is None:
            raise _no_field(raw[at:])
        name = field_key(key[1])
        fields[name], at = _scan_value(name, raw, key.end())
        if raw[at : at + 1] != b",":
            break
        at += 1
    if at < len(raw) and raw[at : at + 1] != b" ":
        raise LineError(f"field {shown(name)}: {shown(raw[at:])} after the closing quote")
    return fields, raw[at + 1 :]


def _scan_value(name: str, raw: bytes, at: int) -> tuple[FieldValue, int]:
    """The value that starts at `at`, and where it ends."""
    if raw[at : at + 1] != b'"':
        bare = _BARE.match(raw, at)
        assert bare is not None
        return _bare_value(bare[0]), bare.end()
    string = STRING.match(raw, at)
    if string is None:
        raise LineError(f"field {shown(name)}: the string has no closing quote")
    value = unescaped(string[1])
    if len(value) > STRING_BYTES_MAX:
        raise LineError(f"field {shown(name)}: string of {len(value)} bytes is over {STRING_BYTES_MAX}")
    return (ColumnType.STRING, _utf8(value)), string.end()


def unescaped(text: bytes) -> bytes:
    """What is between the quotes of a string, without its escapes."""
    return _STRING_ESCAPE.sub(rb"\1", text) if b"\\" in text else text


def _bare_value(token: bytes) -> FieldValue:
    if _FLOAT.fullmatch(token):
        value = float(token)
        if math.isinf(value):
            raise LineError(f"field value {shown(token)} is out of a float's range")
        return ColumnType.FLOAT, value
    if token.endswith(b"i") and _WHOLE.fullmatch(token, 0, len(token) - 1):
        return ColumnType.INTEGER, _whole("field value", token[:-1], -(2**63), 2**63 - 1)
    if token.endswith(b"u") and _NATURAL.fullmatch(token, 0, len(token) - 1):
        return ColumnType.UNSIGNED, _whole("field value", token[:-1], 0, 2**64 - 1)
    if (boolean := BOOLEANS.get(token)) is not None:
        return ColumnType.BOOLEAN, boolean
    if not token:
        raise LineError("missing field value")
    raise LineError(f"field value {shown(token)} is not a number, boolean or quoted string")


def parse_time_ns(token: bytes, precision_ns: int) -> int | None:
    """The time that `token`, without blanks, says; None where it is empty. Raises LineError."""
    if not token:
        return None
    if not _WHOLE.fullmatch(token):
        raise LineError(f"timestamp {shown(token)} is not a whole number")
    time = _whole("timestamp", token, -(2**63), 2**63 - 1)
    time_ns = time * (precision_ns or _guessed_precision_ns(time))
    if not TIME_NS_MIN <= time_ns <= TIME_NS_MAX:
        raise LineError(f"timestamp {shown(token)} is outside the years 1677 to 2262; is the precision right?")
    return time_ns


def _guessed_precision_ns(time: int) -> int:
    """What a time of now would count: below 5e9 seconds, 5e12 milliseconds, 5e15 microseconds, else nanoseconds."""
    size = abs(time) // 10**9
    return 10**9 if size < 5 else 10**6 if size < 5_000 else 10**3 if size < 5_000_000 else 1


def _whole(what: str, digits: bytes, least: int, most: int) -> int:
    if len(digits.lstrip(b"-0")) <= _DIGITS_MAX:
        sign = -1 if digits.startswith(b"-") else 1
        value = sign * int(digits.lstrip(b"-0") or b"0")
        if least <= value <= most:
            return value
    raise LineError(f"{what} {shown(digits)} is outside {least}..{most}")


def field_key(raw: bytes) -> str:
    """The name that a field's key gives. Raises LineError."""
    return _common_field_key(raw) if len(raw) <= _COMMON_KEY_BYTES_MAX else _parse_field_key(raw)


def _parse_field_key(raw: bytes) -> str:
    return _text("field key", raw, _KEY_ESCAPE, _UNFIT_IN_NAMES)


_common_field_key = lru_cache(maxsize=4096)(_parse_field_key)


def _text(what: str, raw: bytes, escape: "re.Pattern[bytes]", unfit: "re.Pattern[str]") -> str:
    """A name or tag value without its escapes."""
    if not raw:
        raise LineError(f"missing {what}")
    if raw.endswith(b"\\"):
        raise LineError(f"{what} {shown(raw)} ends in a backslash: leave it out or write another character for it")
    text = _utf8(escape.sub(rb"\1", raw) if b"\\" in raw else raw)
    if len(raw) > NAME_BYTES_MAX:
        raise LineError(f"{what} of {len(raw)} bytes is over {NAME_BYTES_MAX}")
    if not text.isprintable() and (found := unfit.search(text)):
        raise LineError(f"{what} {shown(text)} contains the control character {found[0]!r}")
    return text


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise LineError(f"invalid UTF-8: byte 0x{raw[error.start]:02x} in {shown(raw)}") from None


def _no_field(raw: bytes) -> LineError:
    return LineError(f"{shown(raw)} is not a field: write key=value" if raw else "missing field after a comma")
