"""Bodies to payloads: what is accepted, where it goes, which columns it needs, and that everything fits a record."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.catalog.table_schema import COLUMNS_MAX, TableSchema
from common.entry import decode
from common.values import schema
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.parsing.batch import BatchParser
from router.parsing.draft import NEW_COLUMNS_MAX, NEW_TABLES_MAX
from router.parsing.lines import few, matrix, text
from router.parsing.messages import REFUSED_SHOWN_MAX, Body
from router.parsing.partition import sequencer_of, series_hash
from tests.support.parsed import body, parse, rows_of

FLOAT, INTEGER, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG


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
    """Rows of one series are in the order of lines and requests, so that the last written wins."""
    batch = parse(body("t f=1 1\nt f=2 1\n"), body("t f=3 1\n"))
    assert [row["f"] for row in rows_of(batch)["t"]] == [1.0, 2.0, 3.0]


def test_lines_without_a_time_get_the_request_s() -> None:
    """The default time is the request's own; the precision scales only times that are written."""
    batch = parse(body("t f=1\nt f=2 5", 1_000, 17_000), body("t f=3", 1, 18))
    assert [row["time"] for row in rows_of(batch)["t"]] == [17_000, 5_000, 18]


def test_a_bad_line_is_refused_alone_with_its_number() -> None:
    """Good lines around bad ones are stored; each refusal has the line's number, reason and start."""
    lines = parse(body(b"t f=1 1\n\n# c\nt f=\nt,x f=1\nt f=2 2\n\xff f=1\nt f=" + b"9" * 50)).requests[0]
    assert (lines.accepted, lines.refused_count) == (3, 3)
    assert [(line.number, line.start) for line in lines.refused] == [(4, "t f="), (5, "t,x f=1"), (7, "\ufffd f=1")]
    assert lines.refused[0].reason == "missing field value"


def test_a_refused_line_is_shown_whole_up_to_a_bound() -> None:
    """256 characters and a mark that there are more; characters are never cut."""
    tags = ",".join(f"t{number}=ä" for number in range(100))
    whole, long = f"t,{tags[:250]} f", f"t,{tags} f"
    lines = parse(body(f"{whole}\n{long}")).requests[0]
    assert [line.start for line in lines.refused] == [whole, long[:256] + "…"]


def test_line_numbers_count_newlines_inside_strings() -> None:
    """A refused line after a value with newlines has the number an editor would show."""
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


def test_long_names_are_shown_by_their_start() -> None:
    """A hundred reasons are in one answer, and a name may have 65,535 bytes."""
    table, column = "t" * 1000, "f" * 1000
    batch = parse(body(f"{table} {column}=1\n{table} {column}=1i"))
    assert batch.requests[0].refused[0].reason == (
        f"column '{'f' * 40}…' of table '{'t' * 40}…' is a float field, the line has an integer field"
    )
    many = {table: TableSchema(1, {f"c{number}": FLOAT for number in range(COLUMNS_MAX)})}
    lines = parse(body(f"{table} new=1"), schemas=many).requests[0]
    assert (
        lines.refused[0].reason == f"table '{'t' * 40}…' has {COLUMNS_MAX} columns; 1 more would be over {COLUMNS_MAX}"
    )


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


def test_refusals_are_listed_up_to_a_number_and_counted_beyond() -> None:
    """A body of nothing but bad lines keeps a bounded number of reasons."""
    lines = parse(body("bad\n" * 1000)).requests[0]
    assert lines.refused_count == 1000
    assert len(lines.refused) == REFUSED_SHOWN_MAX


def test_dropped_fields_are_listed_up_to_a_number_and_need_no_column() -> None:
    """Each field left out is counted with its line's number, the list is bounded, and no column is asked for."""
    text = "bad\nt a=1\n" + "t a=1,time=1,utc_day=2\n" * REFUSED_SHOWN_MAX
    batch = parse(body(text))
    lines = batch.requests[0]
    assert (lines.accepted, lines.refused_count) == (REFUSED_SHOWN_MAX + 1, 1)
    assert lines.dropped_count == 2 * REFUSED_SHOWN_MAX
    assert len(lines.dropped) == REFUSED_SHOWN_MAX
    assert [(one.number, one.name) for one in lines.dropped[:3]] == [(3, "time"), (3, "utc_day"), (4, "time")]
    assert batch.additions == {"t": {"a": FLOAT}}


def test_a_refused_line_drops_no_field() -> None:
    """What a refused line would have lost is not reported: the line is."""
    known = {"t": TableSchema(1, {"a": FLOAT})}
    lines = parse(body("t a=1i,time=1"), schemas=known).requests[0]
    assert (lines.refused_count, lines.dropped_count) == (1, 0)


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


def test_a_request_brings_at_most_so_many_new_columns() -> None:
    """Of all its tables together: the line that would bring more is refused with what to do, those of known columns and
    a neighbour's go on."""
    tables = NEW_COLUMNS_MAX // COLUMNS_MAX
    fields = ",".join(f"f{number}=1i" for number in range(COLUMNS_MAX))
    new = "".join(f"t{number} {fields}\n" for number in range(tables))
    first, second = parse(body(f"{new}u a=1\nt0 f1=1i\nu a=1\n"), body("u a=1\n")).requests
    assert (first.accepted, first.refused_count) == (tables + 1, 2)
    assert {line.reason for line in first.refused} == {"over 100000 new columns in one request; send fewer at a time"}
    assert (second.accepted, second.refused_count) == (1, 0)


def test_tables_refused_for_their_columns_count_as_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a million tables whose columns are too many, no more are asked for than one request may begin."""
    monkeypatch.setattr("router.parsing.draft.NEW_COLUMNS_MAX", 1)
    new = "".join(f"t{number} a=1\n" for number in range(2 * NEW_TABLES_MAX))
    batch = parse(body(new))
    (lines,) = batch.requests
    assert (lines.accepted, lines.refused_count) == (1, 2 * NEW_TABLES_MAX - 1)
    assert len(batch.lacking) == NEW_TABLES_MAX


def test_refused_lines_begin_no_table() -> None:
    """Only tables that get a row count against the limit."""
    bad = "".join(f"bad{number} time=1\n" for number in range(NEW_TABLES_MAX))
    assert parse(body(f"{bad}t a=1")).requests[0].accepted == 1


def test_a_table_beyond_the_limit_is_not_remembered() -> None:
    """Series of lines refused for it are not remembered: a hostile body must not drive out everyone's."""
    parser = BatchParser(4)
    new = "".join(f"t{number} a=1\n" for number in range(3 * NEW_TABLES_MAX))
    parser.parse("ns", [body(new)], {})
    assert len(parser._series.of("ns")) == NEW_TABLES_MAX


@pytest.mark.parametrize("looks", range(5))
def test_a_parse_that_nobody_waits_for_ends_early(looks: int) -> None:
    """Whenever it is cancelled, the parse ends before the next piece, some hundred odd lines or the next record."""
    cancelled = iter([False] * looks + [True])
    with pytest.raises(Unavailable, match="nobody waits"):
        BatchParser(4).parse("ns", [body("t,h=a f=1\n" * 2000), body("t,h=b f=1\n")], {}, lambda: next(cancelled))
    assert list(cancelled) == []


def test_rows_keep_their_order_when_a_large_body_comes_among_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies that are cut into pieces, and pieces that are encoded in parts, do not change the order of rows."""
    monkeypatch.setattr(few, "FEW_LINES_MAX", -1)
    monkeypatch.setattr(matrix, "CELLS_MAX", 20)
    monkeypatch.setattr(text, "PIECE_BYTES_MAX", 300)
    numbers = iter(range(10_000))
    bodies = [body("\n".join(f"t f=1 {next(numbers)}" for _ in range(count))) for count in (3, 100, 2, 2, 40, 1)]
    batch = parse(*bodies, sequencers=1)
    assert [row["time"] for row in rows_of(batch)["t"]] == list(range(148))
    assert len(batch.payloads[SequencerId(0)]) > 5


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
def test_for_any_lines_accounts_and_rows_agree(requests: list[list[tuple[str, ...]]], sequencers: int) -> None:
    """Rows in the payloads are as many as accepted lines, and every column has the one type that was fixed first."""
    bodies = [
        body("\n".join(f"{table}{tags} {name}={value} {time}" for table, tags, name, value, time in request))
        for request in requests
    ]
    batch = parse(*bodies, sequencers=sequencers)
    assert sum(map(len, rows_of(batch).values())) == sum(lines.accepted for lines in batch.requests)
    assert [lines.accepted + lines.refused_count for lines in batch.requests] == [len(request) for request in requests]
    for _, payloads in sorted(batch.payloads.items()):
        for payload in payloads:
            for table, record_batch in decode(payload).tables.items():
                assert schema.columns_of(record_batch.schema).items() <= batch.additions[table].items()


def whole(one: Body) -> Body:
    return dataclasses.replace(one, all_or_nothing=True)


def test_a_refused_line_withdraws_a_body_that_is_all_or_nothing() -> None:
    """No row, column or sequencer of it is left, only the reasons; the same lines go on as a body of the usual kind."""
    text = "t,h=a f=1,time=2 1\nt g=1i 2\nbad\nt f=1i"
    batch = parse(whole(body(text)))
    lines = batch.requests[0]
    assert (lines.accepted, lines.withdrawn, lines.refused_count, lines.count) == (0, 2, 2, 4)
    assert [line.number for line in lines.refused] == [3, 4]
    assert (lines.sequencers, lines.needs_additions, lines.dropped) == (set(), False, [])
    assert (dict(batch.payloads), batch.additions) == ({}, {})
    assert parse(body(text)).requests[0].accepted == 2


def test_a_body_that_is_all_or_nothing_and_good_is_accepted_whole() -> None:
    """Without a refused line it is a body like another."""
    text = "t,h=a f=1 1\n# c\n\nt f=2 2"
    assert rows_of(parse(whole(body(text)))) == rows_of(parse(body(text)))
    assert parse(whole(body(text))).requests == parse(body(text)).requests


def test_a_withdrawn_body_fixes_no_type_for_the_next() -> None:
    """The next body may have the column with another type, also in a table that only the withdrawn one began."""
    batch = parse(body("t a=1"), whole(body("t b=1i\nu c=1i\nbad")), body("t b=2.5\nu c=2.5"))
    assert [lines.accepted for lines in batch.requests] == [1, 0, 2]
    assert batch.additions == {"t": {"a": FLOAT, "b": FLOAT}, "u": {"c": FLOAT}}


def test_a_withdrawn_body_counts_no_new_table() -> None:
    """Its tables are not begun: the draft is as before it, and its refusals still say what was lacking."""
    batch = parse(whole(body("new f=1\nbad")))
    assert batch.additions == {}
    assert batch.lacking == {"new": 0}


@pytest.mark.parametrize("cells_max", [20, 4 * 1024 * 1024])
@given(data=st.data())
@settings(max_examples=60)
def test_a_batch_is_as_if_withdrawn_bodies_had_not_come(cells_max: int, data: st.DataObject) -> None:
    """With any bodies withdrawn, and rows cut into payloads anywhere: the others' rows, in their order, their
    columns and accounts are those of a batch without them."""
    rng = st.lists(st.one_of(lines, st.just(("bad", "", "", "", ""))), max_size=6)
    bodies = [
        body(
            "\n".join(f"{table}{tags} {name}={value} {time}" for table, tags, name, value, time in request),
            default_time_ns=number,
        )
        for number, request in enumerate(data.draw(st.lists(rng, max_size=5)))
    ]
    marked = [whole(one) if data.draw(st.booleans()) else one for one in bodies]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "CELLS_MAX", cells_max)
        batch = parse(*marked, sequencers=2)
        kept = [one for one, lines in zip(marked, batch.requests, strict=True) if not lines.withdrawn]
        without = parse(*kept, sequencers=2)
    assert rows_of(batch) == rows_of(without)
    assert batch.additions == without.additions
    assert [one for one in batch.requests if not one.withdrawn] == without.requests
    assert all(one.refused_count and not one.accepted for one in batch.requests if one.withdrawn)


def test_a_parser_keeps_the_schemas_it_was_sent() -> None:
    """News of one batch are known to the next; an older version changes nothing; other namespaces do not have them."""
    parser = BatchParser(4)
    parser.parse("ns", [], {"t": TableSchema(3, {"f": FLOAT, "g": FLOAT})})
    parser.parse("ns", [], {"t": TableSchema(1, {"f": FLOAT})})
    assert parser.parse("ns", [body("t f=1,g=1")], {}).additions == {}
    assert parser.parse("ns", [body("t g=1i")], {}).requests[0].refused_count == 1
    assert parser.parse("other", [body("t g=1i")], {}).additions == {"t": {"g": INTEGER}}


def test_a_parser_says_which_tables_it_is_short_of() -> None:
    """The version that it has of each table with an unknown column, also where that line was refused; no other."""
    batch = parse(
        body("a f=1\nb f=1,new=1\nc f=1i,new=1\nd x=1\nd x=1i"),
        schemas={name: TableSchema(number, {"f": FLOAT}) for number, name in enumerate("abc", 5)},
    )
    assert batch.lacking == {"b": 6, "d": 0}
