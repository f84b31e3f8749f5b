"""Bodies to payloads: what is accepted, where it goes, which columns it needs, and that everything fits a record."""

import base64
import random
import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import schema
from common.entry import decode
from common.errors import Unavailable
from common.ids import SequencerId
from common.schema import ColumnType
from router import entries, rows
from router.batch import REFUSED_SHOWN_MAX, BatchParser, Body, ParsedBatch
from router.lineprotocol.scalar import LINE_BYTES_MAX
from router.partition import sequencer_of, series_hash
from router.schema_gate import NEW_TABLES_MAX
from router.table_schema import COLUMNS_MAX, TableSchema
from writebuffer.record import ENTRY_CONTENT_TYPE, RECORD_BYTES_MAX, Record, RecordHeaders

FLOAT, INTEGER, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG
NOW_NS = 1_700_000_000_123_456_789


def body(text: str | bytes, precision_ns: int = 1, default_time_ns: int = NOW_NS) -> Body:
    return Body(text.encode() if isinstance(text, str) else text, precision_ns, default_time_ns)


def parse(*bodies: Body, schemas: dict[str, TableSchema] | None = None, sequencers: int = 4) -> ParsedBatch:
    return BatchParser(sequencers).parse("ns", bodies, schemas or {})


def rows_of(batch: ParsedBatch) -> dict[str, list[dict[str, object]]]:
    """All rows by table, sequencer after sequencer, times as ns, absent values left out."""
    found: dict[str, list[dict[str, object]]] = {}
    for payloads in batch.payloads.values():
        for payload in payloads:
            for table, record_batch in decode(payload).tables.items():
                plain = record_batch.set_column(0, "time", record_batch.column("time").view(pa.int64()))
                found.setdefault(table, []).extend(
                    {name: value for name, value in row.items() if value is not None} for row in plain.to_pylist()
                )
    return found


def test_rows_hold_exactly_what_the_lines_said() -> None:
    """Each accepted line is one row with its tags, typed fields and time, columns in penstock's order."""
    batch = parse(body('t,b=1,a=2 z=1i,f=2.5,s="x",u=3u,y=t 7\nt,a=3 f=1 8\n'), sequencers=1)
    assert rows_of(batch) == {
        "t": [
            {"time": 7, "a": "2", "b": "1", "f": 2.5, "s": "x", "u": 3, "y": True, "z": 1},
            {"time": 8, "a": "3", "f": 1.0},
        ]
    }
    (payload,) = batch.payloads[SequencerId(0)]
    assert decode(payload).tables["t"].schema.names == ["time", "a", "b", "f", "s", "u", "y", "z"]
    assert decode(payload).namespace == "ns"


def test_every_series_goes_to_the_sequencer_of_its_hash() -> None:
    """Rows are found on the sequencer that the partition function names, and each request knows which it touched."""
    batch = parse(*[body(f"t,host={number} f=1 1") for number in range(40)])
    for sequencer, payloads in batch.payloads.items():
        for payload in payloads:
            for row in decode(payload).tables["t"].to_pylist():
                assert sequencer_of(series_hash("ns", "t", (("host", row["host"]),)), 4) == sequencer
    assert set(batch.payloads) == {0, 1, 2, 3}
    assert all(len(lines.sequencers) == 1 for lines in batch.requests)


def test_rows_of_one_series_keep_their_order_across_requests() -> None:
    """Lines of one series stand in the order of lines and requests, so that the last written wins."""
    batch = parse(body("t f=1 1\nt f=2 1\n"), body("t f=3 1\n"))
    assert [row["f"] for row in rows_of(batch)["t"]] == [1.0, 2.0, 3.0]


def test_lines_without_a_time_take_the_request_s() -> None:
    """The default time is the request's own; the precision scales only times that are written."""
    batch = parse(body("t f=1\nt f=2 5", 1_000, 17_000), body("t f=3", 1, 18))
    assert [row["time"] for row in rows_of(batch)["t"]] == [17_000, 5_000, 18]


def test_a_bad_line_is_refused_alone_with_its_number() -> None:
    """Good lines around bad ones are stored; each refusal has the line's number, reason and start."""
    lines = parse(body(b"t f=1 1\n\n# c\nt f=\nt,x f=1\nt f=2 2\n\xff f=1\nt f=" + b"9" * 50)).requests[0]
    assert (lines.accepted, lines.refused_count) == (3, 3)
    assert [(line.number, line.start) for line in lines.refused] == [(4, "t f="), (5, "t,x f=1"), (7, "\ufffd f=1")]
    assert lines.refused[0].reason == "missing field value"


def test_line_numbers_count_newlines_inside_strings() -> None:
    """A refused line behind a value with newlines has the number an editor would show."""
    lines = parse(body('t s="a\nb\nc" 1\nbad\n')).requests[0]
    assert [line.number for line in lines.refused] == [4]


def test_requests_are_accounted_apart() -> None:
    """Of two requests in one batch each has its own counts, numbers and needs."""
    known = {"t": TableSchema(1, {"f": FLOAT})}
    batch = parse(body("t f=1\nbad"), body("t f=1\nt g=1\n"), body("# nothing"), schemas=known)
    first, second, third = batch.requests
    assert (first.accepted, first.refused_count, first.needs_additions) == (1, 1, False)
    assert (second.accepted, second.refused_count, second.needs_additions) == (2, 0, True)
    assert (third.accepted, third.refused_count, third.sequencers) == (0, 0, set())
    assert batch.additions == {"t": {"g": FLOAT}}


def test_a_settled_type_refuses_another() -> None:
    """A line that has another type than the settled schema is refused; tags and fields never share a name."""
    known = {"t": TableSchema(1, {"f": FLOAT, "host": TAG})}
    lines = parse(body("t f=1i\nt,f=x g=1\nt host=1\nt,host=a f=1"), schemas=known).requests[0]
    assert [line.reason for line in lines.refused] == [
        "column 'f' of table 't' is a float field, the line has an integer field",
        "column 'f' of table 't' is a float field, the line has a tag",
        "column 'host' of table 't' is a tag, the line has a float field",
    ]
    assert lines.accepted == 1


def test_the_first_accepted_line_fixes_a_type_for_the_batch() -> None:
    """Within a batch the first accepted line decides, also for later requests, and these need the addition too."""
    batch = parse(body("t f=1i 1"), body("t f=1 2"), body("t f=2i 3"))
    assert [lines.accepted for lines in batch.requests] == [1, 0, 1]
    assert [lines.needs_additions for lines in batch.requests] == [True, False, True]
    assert batch.additions == {"t": {"f": INTEGER}}


def test_a_refused_line_registers_nothing() -> None:
    """Columns of a refused line are free for the next line to fix with another type."""
    known = {"t": TableSchema(1, {"old": FLOAT})}
    batch = parse(body("t new=1i,old=1i 1\nt new=2.5 2"), schemas=known)
    assert batch.additions == {"t": {"new": FLOAT}}
    assert rows_of(batch) == {"t": [{"time": 2, "new": 2.5}]}


def test_a_table_has_at_most_so_many_columns() -> None:
    """The line that would bring one column too many is refused; lines of known columns go on."""
    full = {"t": TableSchema(9, {f"c{number}": FLOAT for number in range(COLUMNS_MAX)})}
    lines = parse(body("t x=1\nt c5=1\nu x=1"), schemas=full).requests[0]
    assert lines.accepted == 2
    assert "has 1000 columns; 1 more would be over 1000" in lines.refused[0].reason


def test_refusals_are_told_up_to_a_number_and_counted_beyond() -> None:
    """A body of nothing but bad lines keeps a bounded number of reasons."""
    lines = parse(body("bad\n" * 1000)).requests[0]
    assert lines.refused_count == 1000
    assert len(lines.refused) == REFUSED_SHOWN_MAX


def test_a_request_brings_at_most_so_many_new_tables() -> None:
    """Lines of one new table too many are refused with what to do; known tables and those already begun go on, and a
    neighbour has a limit of its own."""
    known = {"old": TableSchema(1, {"a": FLOAT})}
    new = "".join(f"t{number} a=1\n" for number in range(NEW_TABLES_MAX))
    batch = parse(body(f"{new}u a=1\nold a=1\nt0 a=2\nu a=1\n"), body("u a=1\n"), schemas=known)
    first, second = batch.requests
    assert (first.accepted, first.refused_count) == (NEW_TABLES_MAX + 2, 2)
    assert [line.number for line in first.refused] == [NEW_TABLES_MAX + 1, NEW_TABLES_MAX + 4]
    assert first.refused[0].reason == "over 1000 new tables in one request; send fewer at a time"
    assert (second.accepted, second.refused_count) == (1, 0)
    assert len(batch.additions) == NEW_TABLES_MAX + 1


def test_refused_lines_begin_no_table() -> None:
    """Only tables that get a row count against the limit."""
    bad = "".join(f"bad{number} time=1\n" for number in range(NEW_TABLES_MAX))
    assert parse(body(f"{bad}t a=1")).requests[0].accepted == 1


def test_a_table_beyond_the_limit_takes_no_memory() -> None:
    """Series of lines refused for it are not remembered: a hostile body must not drive out everyone's."""
    parser = BatchParser(4)
    new = "".join(f"t{number} a=1\n" for number in range(3 * NEW_TABLES_MAX))
    parser.parse("ns", [body(new)], {})
    assert len(parser._series._placed) == NEW_TABLES_MAX


class SetAfter(threading.Event):
    """Is set at the n-th look."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [0, 1, 5, 9])
def test_a_parse_that_nobody_waits_for_ends_early(looks: int) -> None:
    """Whenever the flag is set, the parse ends within some hundred lines, or before the next record is encoded."""
    cancelled = SetAfter(looks)
    with pytest.raises(Unavailable, match="nobody waits"):
        BatchParser(4).parse("ns", [body("t,h=a f=1\n" * 2000), body("t,h=b f=1\n")], {}, cancelled)
    assert cancelled.looks == -1


def test_a_body_of_under_a_megabyte_is_one_payload_a_sequencer() -> None:
    """An ordinary body makes exactly one record for each sequencer touched."""
    text = "\n".join(f"t,host=h{number % 100} f={number}.5,g={number}i {number}" for number in range(25_000))
    assert 700_000 < len(text) < 1_000_000
    assert {len(payloads) for payloads in parse(body(text)).payloads.values()} == {1}


def incompressible(count: int, seed: int = 1) -> str:
    return base64.b64encode(random.Random(seed).randbytes(count)).decode()


def test_what_exceeds_a_record_is_split_by_rows_into_payloads_that_stand_alone() -> None:
    """Every payload fits a record with the largest headers, decodes alone, and together they hold all rows in order."""
    text = "\n".join(
        f"t{number % 3},id=i{number},junk={incompressible(30_000, number)} f={number}i {number}"
        for number in range(100)
    )
    batch = parse(body(text), sequencers=1)
    payloads = batch.payloads[SequencerId(0)]
    assert len(payloads) > 2
    headers = RecordHeaders(ENTRY_CONTENT_TYPE, "n" * 511, b"p" * 16, 2**63, NOW_NS, "0" * 55)
    assert all(len(Record.of(headers, payload)) <= RECORD_BYTES_MAX for payload in payloads)
    for table, found in rows_of(batch).items():
        numbers = [row["f"] for row in found]
        assert numbers == sorted(number for number in range(100) if f"t{number % 3}" == table)


@pytest.mark.parametrize("columns", [8, COLUMNS_MAX])
def test_the_largest_line_fits_one_record(columns: int) -> None:
    """The largest line, of incompressible strings in few or in as many columns as there may be, is one record."""
    size = min(LINE_BYTES_MAX // columns - 20, 65_000)
    junk = [incompressible(size * 3 // 4, number)[:size] for number in range(columns)]
    line = "t " + ",".join(f'column{number:04}="{junk[number]}"' for number in range(columns))
    assert len(line) <= LINE_BYTES_MAX
    (payload,) = parse(body(line), sequencers=1).payloads[SequencerId(0)]
    assert len(payload) <= entries.PAYLOAD_BYTES_MAX


def test_the_largest_line_of_tags_fits_one_record() -> None:
    """As many tags as a table may have, each with an incompressible value, are one record too."""
    size = LINE_BYTES_MAX // COLUMNS_MAX - 20
    tags = ",".join(f"tag{number:04}={incompressible(size, number)[:size]}".rstrip("=") for number in range(999))
    (payload,) = parse(body(f"t,{tags} f=1"), sequencers=1).payloads[SequencerId(0)]
    assert decode(payload).tables["t"].num_columns == COLUMNS_MAX + 1


def test_sparse_rows_are_encoded_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that each bring another column are cut into several payloads of a bounded number of cells, in order."""
    monkeypatch.setattr(rows, "CELLS_MAX", 10_000)
    text = "\n".join(f"t f{number % 200}=1i {number}" for number in range(2_000))
    batch = parse(body(text), sequencers=1)
    cells = [
        table.num_rows * table.num_columns
        for payload in batch.payloads[SequencerId(0)]
        for table in decode(payload).tables.values()
    ]
    assert len(cells) > 5
    assert max(cells) < 11_000
    assert [row["time"] for row in rows_of(batch)["t"]] == list(range(2_000))


lines = st.builds(
    lambda table, host, field, value, time: (table, host, field, value, time),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", ",host=x", ",host=y,dc=1"]),
    st.sampled_from(["f", "g", "h"]),
    st.sampled_from(["1", "2i", "t", '"s"']),
    st.integers(0, 9),
)


@settings(max_examples=60)
@given(st.lists(st.lists(lines, max_size=6), max_size=4), st.integers(1, 5))
def test_whatever_the_lines_accounts_and_rows_agree(requests: list[list[tuple[str, ...]]], sequencers: int) -> None:
    """Rows in the payloads are as many as accepted lines, and every column has the one type that was fixed first."""
    bodies = [
        body("\n".join(f"{table}{tags} {name}={value} {time}" for table, tags, name, value, time in request))
        for request in requests
    ]
    batch = parse(*bodies, sequencers=sequencers)
    assert sum(map(len, rows_of(batch).values())) == sum(lines.accepted for lines in batch.requests)
    assert [lines.accepted + lines.refused_count for lines in batch.requests] == [len(request) for request in requests]
    for payloads in batch.payloads.values():
        for payload in payloads:
            for table, record_batch in decode(payload).tables.items():
                assert schema.columns_of(record_batch.schema).items() <= batch.additions[table].items()
