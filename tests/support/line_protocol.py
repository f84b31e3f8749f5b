"""Points written as line protocol, escaped as the protocol demands: the inverse of the parser, made independently."""

from collections.abc import Mapping

from common.values.schema import ColumnType
from router.lineprotocol.point import FieldValue, Point


def escape(name: str, special: str) -> str:
    return "".join(f"\\{char}" if char in special else char for char in name)


def write_value(value: FieldValue) -> str:
    """One field value as a client writes it."""
    column, content = value
    match column:
        case ColumnType.STRING:
            return f'"{escape(str(content), chr(34) + chr(92))}"'
        case ColumnType.INTEGER:
            return f"{content}i"
        case ColumnType.UNSIGNED:
            return f"{content}u"
        case ColumnType.BOOLEAN:
            return "true" if content else "false"
    return repr(content)


def write_line(point: Point) -> bytes:
    """One line, without its newline. `point.time_ns` is written in ns."""
    tags = "".join(f",{escape(key, ', =')}={escape(value, ', =')}" for key, value in point.tags)
    fields = _fields(point.fields)
    time = "" if point.time_ns is None else f" {point.time_ns}"
    return f"{escape(point.table, ', ')}{tags} {fields}{time}".encode()


def _fields(fields: Mapping[str, FieldValue]) -> str:
    return ",".join(f"{escape(name, ', =')}={write_value(value)}" for name, value in fields.items())
