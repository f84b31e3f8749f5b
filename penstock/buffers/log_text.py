"""What `penstock log` prints: a log's survey, its problems and its records, as text or as JSON."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from common.values.errors import DataCorrupt
from common.values.ids import SequencerId
from common.values.shown import counted
from writebuffer.contract import SequencedRecord, Size
from writebuffer.inspect import Holder, LogSurvey, Problem
from writebuffer.record import ENTRY_CONTENT_TYPE

_LEFT = {"segment", "state", "index"}
_INDEXES = {"whole": "yes", "damaged": "damaged", "missing": "none"}


def survey_text(found: LogSurvey) -> str:
    lines = [
        f"sequencer {found.sequencer}: offsets {found.first_offset} to {found.next_offset}",
        f"  identity {found.identity}",
        f"  {holder_text(found.holder)}",
    ]
    if found.horizon != "whole":
        lines.append(
            f"  the horizon file, which says how far readers may read, is {found.horizon}: they find the end by the "
            "segments, and the next start writes it again"
        )
    rows = [
        {
            "segment": one.name,
            "state": one.state,
            "epoch": one.epoch,
            "first": one.first_offset,
            "next": "" if one.next_offset is None else one.next_offset,
            "data bytes": f"{one.data_bytes:,}",
            "on disk": f"{one.disk_bytes:,}",
            "passed over": f"{one.passed_over_bytes:,}",
            "index": _INDEXES[one.index],
        }
        for one in found.segments
    ]
    lines += [f"  {line}" for line in table(rows)] or ["  no segments"]
    lines += [f"  damaged: {what}" for what in found.damage]
    return "\n".join(lines)


def holder_text(holder: Holder | None) -> str:
    if holder is None:
        return "never opened for writing"
    by = f"pid {holder.pid} on host {holder.host} since {holder.since}"
    return f"held by {by}" if holder.held else f"not held, as seen from here; last by {by}"


def problem_text(problem: Problem) -> str:
    where = f"{problem.segment} at byte {problem.at_byte}: " if problem.segment else ""
    lost = problem.next_offset - problem.first_offset
    offsets = (
        f"offsets {problem.first_offset} to {problem.next_offset - 1}" if lost > 1 else f"offset {problem.first_offset}"
    )
    return f"sequencer {problem.sequencer}: {where}{problem.what}" + (f"; {offsets} cannot be read" if lost else "")


def sizes_text(sizes: Sequence[tuple[SequencerId, Size]]) -> str:
    rows: list[dict[str, object]] = [_size_row(sequencer, size) for sequencer, size in sizes]
    total = Size(sum(size.data_bytes for _, size in sizes), sum(size.disk_bytes for _, size in sizes))
    return "\n".join(table([*rows, _size_row("all", total)]))


def _size_row(sequencer: object, size: Size) -> dict[str, object]:
    return {"sequencer": sequencer, "data bytes": f"{size.data_bytes:,}", "on disk": f"{size.disk_bytes:,}"}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Columns under their names: words to the left, numbers to the right. No lines for no rows."""
    if not rows:
        return []
    columns = {name: [name, *(str(row[name]) for row in rows)] for name in rows[0]}
    widths = {name: max(map(len, cells)) for name, cells in columns.items()}
    padded = [
        [cell.ljust(widths[name]) if name in _LEFT else cell.rjust(widths[name]) for cell in cells]
        for name, cells in columns.items()
    ]
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def record_values(sequencer: SequencerId, one: SequencedRecord, *, decoded: bool) -> dict[str, Any]:
    """One record for --json; `tables`, or `undecodable` with the reason, when asked to decode it."""
    headers = one.record.headers
    values: dict[str, Any] = {
        "sequencer": sequencer,
        "offset": one.offset,
        "append_time": utc(headers.append_time_ns),
        "namespace": headers.namespace,
        "content_type": headers.content_type,
        "producer": headers.producer_id.hex(),
        "producer_sequence": headers.producer_sequence,
        "trace_parent": headers.trace_parent,
        "payload_bytes": len(one.record.payload),
    }
    if decoded:
        values |= _decoded(headers.content_type, one.record.payload)
    return values


def record_text(values: dict[str, Any]) -> str:
    """The same on one line, and a line for each row of its tables."""
    said = f"{values['sequencer']}/{values['offset']}  {values['append_time']}  {_shown(values['namespace'])}"
    producer = f"{values['producer'][:8]}#{values['producer_sequence']}"
    lines = [f"{said}  {producer}  {counted(values['payload_bytes'], 'byte')}"]
    if "undecodable" in values:
        lines.append(f"    undecodable: {values['undecodable']}")
    for each in values.get("tables", ()):
        lines.append(f"    {_shown(each['table'])}: {counted(len(each['rows']), 'row')}")
        for row in each["rows"]:
            lines.append("      " + "  ".join(f"{_shown(name)}={_value(value)}" for name, value in row.items()))
    return "\n".join(lines)


def utc(time_ns: int) -> str:
    """ISO 8601 to the nanosecond; the bare number where no calendar has it."""
    try:
        return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{time_ns % 10**9:09}Z"
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


def _decoded(content_type: str, payload: bytes) -> dict[str, Any]:
    from common.entry import decode

    if content_type != ENTRY_CONTENT_TYPE:
        return {"undecodable": f"content type {content_type!r} is not an entry"}
    try:
        tables = decode(payload).tables
    except DataCorrupt as error:
        return {"undecodable": str(error)}
    return {"tables": [{"table": name, "rows": _rows(batch)} for name, batch in tables.items()]}


def _rows(batch: Any) -> list[dict[str, Any]]:
    """Rows by column, absent values left out, times as text."""
    from common.values.schema import TIME, times_ns

    times = [utc(int(time_ns)) for time_ns in times_ns(batch)]
    columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != TIME}
    return [
        {TIME: time} | {name: values[at] for name, values in columns.items() if values[at] is not None}
        for at, time in enumerate(times)
    ]


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _shown(text: str) -> str:
    """Names are the clients' own: the terminal must not read any part of them as a command."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
