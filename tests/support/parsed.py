"""Bodies for a parser, and what it made of them as plain rows."""

import pyarrow as pa

from common.catalog.table_schema import TableSchema
from common.entry import decode
from router.parsing.batch import BatchParser
from router.parsing.messages import Body, ParsedBatch

NOW_NS = 1_700_000_000_123_456_789


def body(lines: str | bytes, precision_ns: int = 1, default_time_ns: int = NOW_NS) -> Body:
    return Body(lines.encode() if isinstance(lines, str) else lines, precision_ns, default_time_ns)


def parse(*bodies: Body, schemas: dict[str, TableSchema] | None = None, sequencers: int = 4) -> ParsedBatch:
    return BatchParser(sequencers).parse("ns", bodies, schemas or {})


def rows_of(batch: ParsedBatch) -> dict[str, list[dict[str, object]]]:
    """All rows by table, sequencer after sequencer, times as ns, absent values left out."""
    found: dict[str, list[dict[str, object]]] = {}
    for _, payloads in sorted(batch.payloads.items()):
        for payload in payloads:
            for table, record_batch in decode(payload).tables.items():
                plain = record_batch.set_column(0, "time", record_batch.column("time").view(pa.int64()))
                found.setdefault(table, []).extend(
                    {name: value for name, value in row.items() if value is not None} for row in plain.to_pylist()
                )
    return found
