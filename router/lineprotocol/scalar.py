"""The strict parser of one line of InfluxDB's line protocol: the reference for any faster one.

    measurement[,tag=value…] field=value[,field=value…] [timestamp]

Escapes. `\\,` and `\\ ` in a measurement, these and `\\=` in keys and tag values, `\\"` and `\\\\` in strings; a
backslash before anything else is a backslash. Outside strings a comma, space or equals sign is therefore dead iff the
byte before it is a backslash, however many stand before that one (so do InfluxDB 1.x and its client libraries, which
never double a backslash in a name).
Numbers are what the protocol's grammar says and no more: no `.5`, `1.`, `+1`, `0x1`, `nan` or `inf`. A name or tag
value holds no newline, carriage return or NUL and does not end in a backslash. Of a field that stands twice the last
one counts.
"""

import math
import re
from functools import lru_cache
from itertools import pairwise

from common.schema import RESERVED_COLUMNS, TIME_NS_MAX, TIME_NS_MIN, ColumnType
from router.lineprotocol.point import Fields, FieldValue, LineError, Point, Series, Tags

LINE_BYTES_MAX = 512 * 1024
"""So that a row always fits a record, whose bytes_max is 1,000,000."""

STRING_BYTES_MAX = 64 * 1024
NAME_BYTES_MAX = 65_535
"""What an entry can name; InfluxDB's limit of a series key."""

_LIVE_SPACE = re.compile(rb"(?<!\\) ")
_LIVE_COMMA = re.compile(rb"(?<!\\),")
_LIVE_EQUALS = re.compile(rb"(?<!\\)=")
_MEASUREMENT_ESCAPE = re.compile(rb"\\([, ])")
_KEY_ESCAPE = re.compile(rb"\\([, =])")
_STRING_ESCAPE = re.compile(rb'\\(["\\])')
_FIELD_KEY = re.compile(rb"((?:[^\\,= ]++|\\[,= ]?+)*+)=")
_STRING = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_BARE = re.compile(rb"[^, ]*+")

_FLOAT = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(rb"-?[0-9]+")
_BOOLEANS = dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), True) | dict.fromkeys(
    (b"f", b"F", b"false", b"False", b"FALSE"), False
)
_DIGITS_MAX = 20
"""Of any number that fits 64 bits. Python refuses to convert thousands of digits, with an error of its own."""

_COMMON_KEY_BYTES_MAX = 256
"""Field keys up to here are remembered: the same few come on every line. Longer ones would fill the memory."""

_UNFIT = re.compile(r"[\0\r\n]")


def parse_line(line: bytes, precision_ns: int) -> Point | None:
    """The point that `line` (without its newline; a `\\r` at its end is fine) says; None for a blank line or a comment.

    precision_ns: nanoseconds of one unit of the line's timestamp. Raises LineError.
    """
    parts = split_line(line)
    if parts is None:
        return None
    series = parse_series(parts[0])
    fields, time_ns = parse_fields(parts[1], precision_ns)
    check_distinct(series.tags, fields)
    return Point(series.table, series.tags, fields, time_ns)


def split_line(line: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and after the first live space; None for a blank line or a comment. Raises LineError."""
    line = line.removesuffix(b"\r").lstrip(b" \t")
    if not line or line.startswith(b"#"):
        return None
    if len(line) > LINE_BYTES_MAX:
        raise LineError(f"line of {len(line)} bytes is over {LINE_BYTES_MAX}")
    at = line.find(b" ")
    if at > 0 and line[at - 1] == ord("\\"):
        live = _LIVE_SPACE.search(line)
        at = live.start() if live else -1
    if at < 0:
        raise LineError("missing fields")
    return line[:at], line[at + 1 :]


def parse_series(raw: bytes) -> Series:
    """The series of `measurement,tag=value,…`. Raises LineError."""
    measurement, *tags = _LIVE_COMMA.split(raw) if b"\\" in raw else raw.split(b",")
    table = _text("measurement", measurement, _MEASUREMENT_ESCAPE)
    pairs = tuple(sorted(map(_tag, tags)))
    for (key, _), (other, _) in pairwise(pairs):
        if key == other:
            raise LineError(f"tag {_shown(key)} stands twice")
    return Series(table, pairs)


def check_distinct(tags: Tags, fields: Fields) -> None:
    """Raises LineError where one name is a tag and a field."""
    for key, _ in tags:
        if key in fields:
            raise LineError(f"{_shown(key)} is a tag and a field")


def _tag(raw: bytes) -> tuple[str, str]:
    if b"\\" in raw:
        key, *value = _LIVE_EQUALS.split(raw, maxsplit=1)
    else:
        key, *value = raw.split(b"=", 1)
    if not value:
        raise LineError(f"tag {_shown(raw)} has no value" if raw else "missing tag behind a comma")
    name = _text("tag key", key, _KEY_ESCAPE)
    if not value[0]:
        raise LineError(f"tag {_shown(name)} has an empty value")
    _refuse_reserved(name)
    return name, _text("tag value", value[0], _KEY_ESCAPE)


def parse_fields(raw: bytes, precision_ns: int) -> tuple[Fields, int | None]:
    """Fields and time of what follows the series. Raises LineError."""
    raw = raw.lstrip(b" ")
    if not raw:
        raise LineError("missing fields")
    if b'"' in raw or b"\\" in raw:
        fields, timestamp = _scan_fields(raw)
    else:
        section, _, timestamp = raw.partition(b" ")
        fields = dict(map(_plain_field, section.split(b",")))
    return fields, _time_ns(timestamp.strip(b" "), precision_ns)


def _plain_field(pair: bytes) -> tuple[str, FieldValue]:
    key, equals, value = pair.partition(b"=")
    if not equals:
        raise _no_field(pair)
    return _field_key(key), _bare_value(value)


def _scan_fields(raw: bytes) -> tuple[dict[str, FieldValue], bytes]:
    """Fields, and what follows them. For sections with quotes or backslashes, one field after another."""
    fields: dict[str, FieldValue] = {}
    at = 0
    while True:
        key = _FIELD_KEY.match(raw, at)
        if key is None:
            raise _no_field(raw[at:])
        name = _field_key(key[1])
        fields[name], at = _scan_value(name, raw, key.end())
        if raw[at : at + 1] != b",":
            break
        at += 1
    if at < len(raw) and raw[at : at + 1] != b" ":
        raise LineError(f"field {_shown(name)}: {_shown(raw[at:])} behind the closing quote")
    return fields, raw[at + 1 :]


def _scan_value(name: str, raw: bytes, at: int) -> tuple[FieldValue, int]:
    """The value that starts at `at`, and where it ends."""
    if raw[at : at + 1] != b'"':
        bare = _BARE.match(raw, at)
        assert bare is not None
        return _bare_value(bare[0]), bare.end()
    string = _STRING.match(raw, at)
    if string is None:
        raise LineError(f"field {_shown(name)}: the string has no closing quote")
    value = _STRING_ESCAPE.sub(rb"\1", string[1]) if b"\\" in string[1] else string[1]
    if len(value) > STRING_BYTES_MAX:
        raise LineError(f"field {_shown(name)}: string of {len(value)} bytes is over {STRING_BYTES_MAX}")
    return (ColumnType.STRING, _utf8(value)), string.end()


def _bare_value(token: bytes) -> FieldValue:
    if _FLOAT.fullmatch(token):
        value = float(token)
        if math.isinf(value):
            raise LineError(f"field value {_shown(token)} is out of a float's range")
        return ColumnType.FLOAT, value
    if token.endswith(b"i") and _WHOLE.fullmatch(token, 0, len(token) - 1):
        return ColumnType.INTEGER, _whole("field value", token[:-1], -(2**63), 2**63 - 1)
    if token.endswith(b"u") and _WHOLE.fullmatch(token, 0, len(token) - 1):
        return ColumnType.UNSIGNED, _whole("field value", token[:-1], 0, 2**64 - 1)
    if (boolean := _BOOLEANS.get(token)) is not None:
        return ColumnType.BOOLEAN, boolean
    if not token:
        raise LineError("missing field value")
    raise LineError(f"field value {_shown(token)} is no number, boolean or quoted string")


def _time_ns(token: bytes, precision_ns: int) -> int | None:
    if not token:
        return None
    if not _WHOLE.fullmatch(token):
        raise LineError(f"timestamp {_shown(token)} is not a whole number")
    time_ns = _whole("timestamp", token, -(2**63), 2**63 - 1) * precision_ns
    if not TIME_NS_MIN <= time_ns <= TIME_NS_MAX:
        raise LineError(f"timestamp {_shown(token)} is outside the years 1677 to 2262; is the precision right?")
    return time_ns


def _whole(what: str, digits: bytes, least: int, most: int) -> int:
    if len(digits.lstrip(b"-0")) <= _DIGITS_MAX:
        sign = -1 if digits.startswith(b"-") else 1
        value = sign * int(digits.lstrip(b"-0") or b"0")
        if least <= value <= most:
            return value
    raise LineError(f"{what} {_shown(digits)} is outside {least}..{most}")


def _field_key(raw: bytes) -> str:
    return _common_field_key(raw) if len(raw) <= _COMMON_KEY_BYTES_MAX else _parse_field_key(raw)


def _parse_field_key(raw: bytes) -> str:
    name = _text("field key", raw, _KEY_ESCAPE)
    _refuse_reserved(name)
    return name


_common_field_key = lru_cache(maxsize=4096)(_parse_field_key)


def _refuse_reserved(name: str) -> None:
    if name in RESERVED_COLUMNS:
        raise LineError(f"{name!r} is reserved and can be no tag or field")


def _text(what: str, raw: bytes, escape: "re.Pattern[bytes]") -> str:
    """A name or tag value without its escapes."""
    if not raw:
        raise LineError(f"missing {what}")
    if raw.endswith(b"\\"):
        raise LineError(f"{what} {_shown(raw)} ends in a backslash")
    text = _utf8(escape.sub(rb"\1", raw) if b"\\" in raw else raw)
    if len(raw) > NAME_BYTES_MAX:
        raise LineError(f"{what} of {len(raw)} bytes is over {NAME_BYTES_MAX}")
    if not text.isprintable() and (unfit := _UNFIT.search(text)):
        raise LineError(f"{what} {_shown(text)} holds {unfit[0]!r}")
    return text


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise LineError(f"invalid UTF-8: byte 0x{raw[error.start]:02x} in {_shown(raw)}") from None


def _no_field(raw: bytes) -> LineError:
    return LineError(f"{_shown(raw)} is no field: give key=value" if raw else "missing field behind a comma")


def _shown(part: bytes | str) -> str:
    """The start of what is wrong, for a message."""
    text = part[:200].decode(errors="replace") if isinstance(part, bytes) else part
    return repr(text if len(text) <= 40 else text[:40] + "…")
