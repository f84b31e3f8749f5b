"""Records decoded together come to the same as each decoded alone, whatever lies between them."""

import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xxhash

from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.partition_key import PartitionKey
from common.entry import Entry
from common.entry.series_rows import series_rows
from common.values.ids import Offset
from common.values.schema import DAY_NS, TableId
from ingester.buffer.origins import Origins, TableColumns
from ingester.buffer.piece import PartitionView
from ingester.buffer.tree import BufferTree
from ingester.core.arrivals import Arrivals
from ingester.core.core import IngesterCore
from ingester.core.events import DeadLetter, Polled
from ingester.following import joining
from ingester.following.decode import Joined, Undecodable, decode
from ingester.following.joining import JoinedRows, Known
from ingester.following.poller import decoded_steps
from ingester.persist.job import view_batches
from tests.support.campaign import campaign, seeds
from tests.support.ingester_rig import RULES, IngesterRig
from tests.support.packed import packed_payload
from tests.support.records import DAY0_NS, NAMESPACE, Row, add_rows, batch, columns, headers, record, row, rows_of
from writebuffer.contract import SequencedRecord
from writebuffer.record import Record

Tables = Mapping[str, Sequence[Row]]


def packed(tables: Tables, sequence: int = 0, append_time_ns: int = DAY0_NS, namespace: str = NAMESPACE) -> Record:
    """A record of packed rows."""
    return Record.of(headers(namespace, 1, sequence, append_time_ns), packed_payload(namespace, tables))


def sequenced(*records: Record, start: int = 0) -> list[SequencedRecord]:
    return [SequencedRecord(Offset(offset), each) for offset, each in enumerate(records, start)]


def together(records: Sequence[SequencedRecord], known: Known | None = None) -> Polled:
    (polled,) = decoded_steps(records, Offset(records[-1].offset + 1), True, known=known)
    return polled


def alone(records: Sequence[SequencedRecord]) -> Polled:
    return Polled(tuple(map(decode, records)), Offset(records[-1].offset + 1), True)


def rows_in(joined: JoinedRows) -> list[Row]:
    return rows_of(joined.rows.with_tags(joined.brought.columns))


CLAIMED = IngesterRig().claimed


def a_core() -> IngesterCore:
    return IngesterCore(CLAIMED, RULES, 10**9, 4, random.Random(0))


def rows_and_offsets(view: PartitionView) -> list[tuple[int, Row]]:
    offsets = [
        int(offset)
        for chunk in view.chunks
        for offset in np.repeat(chunk.record_offsets, np.diff(chunk.record_rows, append=chunk.rows))
    ]
    values = [each for one in view_batches(view) for each in rows_of(one)]
    return list(zip(offsets, values, strict=True))


def what_came_of(core: IngesterCore, polls: Sequence[Polled]) -> dict[str, Any]:
    """All that the core makes of them: rows with offsets, dead letters, counts, marks."""
    letters = [action for polled in polls for action in core.step(polled) if isinstance(action, DeadLetter)]
    rows = {}
    for key, view in core.view.partitions.items():
        rows[key] = rows_and_offsets(view)
        assert view.columns.items() <= core._intake.ledger._columns[key.table_id].items()
        arrivals = [(chunk.first_arrival_ns, chunk.last_arrival_ns) for chunk in view.chunks]
        assert arrivals == sorted(arrivals)
    ledger = core._intake.ledger
    return {
        "rows": rows,
        "letters": letters,
        "accounts": core.accounts,
        "counters": core.counters,
        "marks": list(ledger._marks),
        "settled": ledger.settled_at(core.applied_offset).columns,
        "first": core._tree.first_offset(),
        "applied": (core.applied_offset, core.caught_up, core.rows_buffered, core.log_time_ns),
    }


# The same as alone

VALUES: Mapping[type, Sequence[Any]] = {
    int: [-5, 0, 7],
    float: [0.0, 0.5, float("-inf")],
    bool: [False, True],
    str: ["", "a", "naïve"],
}


def some_tables(drawn: random.Random) -> dict[str, list[Row]]:
    """Within a record a column has one type; between records it may have others, now and then."""
    found = {}
    for table in drawn.sample(["cpu", "mem", "disk"], drawn.randint(1, 3)):
        kinds = {name: [*VALUES]["abcd".index(name)] for name in drawn.sample("abcd", drawn.randint(1, 4))}
        if drawn.random() < 0.1:
            kinds["a"] = drawn.choice([*VALUES])
        tags = drawn.sample(["host", "zone"], drawn.randint(0, 2))
        found[table] = [
            Row(
                DAY0_NS + drawn.choice([0, 0, 0, 1, 2]) * DAY_NS + drawn.randrange(4),
                {tag: drawn.choice("xyz") for tag in tags},
                {name: drawn.choice(VALUES[kind]) for name, kind in kinds.items()},
            )
            for _ in range(drawn.randint(1, 3))
        ]
    return found


def some_record(drawn: random.Random, earlier: Sequence[Record]) -> Record:
    """Mostly packed rows; or streams, a repeat, damaged, in the wrong namespace."""
    kind = drawn.choice(["packed"] * 12 + ["streams", "repeat", "damaged", "foreign"])
    time_ns = DAY0_NS + drawn.randrange(100) * 10**9
    tables = some_tables(drawn)
    if kind == "streams":
        return record(tables, sequence=len(earlier), append_time_ns=time_ns)
    if kind == "repeat" and earlier:
        return drawn.choice(earlier)
    made = packed(tables, len(earlier), time_ns)
    if kind == "damaged":
        return Record(made.header_block, made.payload[:-1] + bytes([made.payload[-1] ^ 1]))
    if kind == "foreign":
        return Record(made.header_block, packed_payload("other", tables))
    return made


def compare(seed: int) -> None:
    """The same records in the same polls, with one memory of shapes and series for all of them."""
    drawn = random.Random(seed)
    records: list[Record] = []
    for _ in range(drawn.randint(1, 40)):
        records.append(some_record(drawn, records))
    ordered = sequenced(*records)
    ends = sorted({drawn.randint(1, len(ordered)), len(ordered)})
    polls = [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    known = Known()
    assert what_came_of(a_core(), [together(poll, known) for poll in polls]) == what_came_of(
        a_core(), [alone(poll) for poll in polls]
    )


@pytest.mark.parametrize("seed", range(20))
def test_together_comes_to_the_same_as_alone(seed: int) -> None:
    """Rows, their offsets and order, dead letters, duplicates, types, accounts and marks."""
    compare(seed)


@campaign
def test_together_comes_to_the_same_at_length() -> None:
    """The same, as long as the campaign lasts."""
    for seed in range(20, 20 + 2 * seeds()):
        compare(seed)


# How they are joined


def test_rows_of_a_table_become_one_batch() -> None:
    """However many records, and with other tables between them."""
    polled = together(
        sequenced(*[packed({"cpu": [row(DAY0_NS + n, "a", v=1.0)], f"t{n % 2}": [row(n, v=n)]}, n) for n in range(10)])
    )
    assert all(isinstance(each.content, Joined) for each in polled.records)
    assert [(joined.brought.table.table, joined.records.tolist()) for joined in polled.joined] == [
        ("cpu", list(range(10))),
        ("t0", [0, 2, 4, 6, 8]),
        ("t1", [1, 3, 5, 7, 9]),
    ]
    assert [each.rows for each in polled.records] == [2] * 10


def test_records_with_other_columns_of_a_table_are_joined_too() -> None:
    """In the order of the records, null where a record lacks a column."""
    shapes = [{"v": 1.0}, {"w": 2}, {"v": 1.0, "x": "text"}]
    records = [packed({"cpu": [Row(DAY0_NS + n, {}, shapes[n % 3])] * 2}, n) for n in range(7)]
    (joined,) = together(sequenced(*records)).joined
    assert rows_in(joined) == [Row(DAY0_NS + n, {}, shapes[n % 3]) for n in range(7) for _ in range(2)]
    assert (joined.records.tolist(), joined.first_rows.tolist()) == (list(range(7)), list(range(0, 14, 2)))
    assert set(joined.brought.columns) == {"v", "w", "x"}


def test_a_record_of_a_stream_for_each_table_ends_a_batch_of_its_tables_only() -> None:
    """Its rows lie between those before and after it, by offset."""
    between = record({"cpu": [row(DAY0_NS, "b", v=2.0)]}, sequence=1)
    made = [packed({"cpu": [row(DAY0_NS, "a", v=1.0)], "mem": [row(DAY0_NS, v=1)]}, n) for n in (0, 2)]
    polled = together(sequenced(made[0], between, made[1]))
    assert isinstance(polled.records[1].content, Entry)
    assert [joined.records.tolist() for joined in polled.joined] == [[0], [2], [0, 2]]


def test_records_of_streams_are_added_together_where_nothing_lies_between() -> None:
    """By table, in the order of offsets; those with other columns, or beyond packed rows, apart."""
    streams = [
        record({"cpu": [row(DAY0_NS + n, f"h{n}", v=1.0)], "mem": [row(DAY0_NS, v=n)]}, sequence=n) for n in (0, 1)
    ]
    packed_rows = packed({"cpu": [row(DAY0_NS, "b", v=2.0)]}, 2)
    other = record({"cpu": [row(DAY0_NS, "c", w=2.0)]}, sequence=4)
    records = sequenced(*streams, packed_rows, record({"cpu": [row(DAY0_NS, "d", v=1.0)]}, sequence=3), other)
    polled = together(records)
    arrivals = Arrivals(polled)
    for position, each in enumerate(polled.records):
        arrivals.add(position, each.tables, position)
    found = [(brought.table.table, origins.offsets.tolist()) for brought, _, origins in arrivals.rows()]
    assert found == [("cpu", [0, 1]), ("mem", [0, 1]), ("cpu", [2]), ("cpu", [3]), ("cpu", [4])]
    assert what_came_of(a_core(), [polled]) == what_came_of(a_core(), [alone(records)])


def lying(good: Record) -> Record:
    """The same with an absent tag value for a row in the body, and true sums."""
    tables: Tables = {"cpu": [row(DAY0_NS, "a", v=True)]}
    payload = packed_payload(NAMESPACE, tables).replace(b"\1" + bytes(7), b"\2" + bytes(7))
    return Record(good.header_block, resealed(payload))


def resealed(payload: bytes) -> bytes:
    """With true sums over header and body."""
    start = struct.unpack_from("<I", payload, 24)[0]
    body = payload[start:]
    header = payload[:16] + struct.pack("<Q", xxhash.xxh3_64_intdigest(body)) + payload[24 : start - 8]
    return header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header)) + body


def test_one_record_that_lies_costs_no_other() -> None:
    """It alone is a dead letter, with the reason that it has alone, and its other tables are not applied either."""
    good = [packed({"cpu": [row(DAY0_NS + n, "a", v=True)], "mem": [row(DAY0_NS, v=n)]}, n) for n in range(5)]
    bad = lying(good[2])
    records = sequenced(*good[:2], bad, *good[3:])
    polled = together(records)
    assert polled.records[2].content == decode(records[2]).content
    assert isinstance(polled.records[2].content, Undecodable)
    assert polled.records[2].content.reason == "table 'cpu': a boolean is neither 0 nor 1"
    assert [joined.records.tolist() for joined in polled.joined] == [[0, 1, 3, 4], [0, 1, 3, 4]]
    assert what_came_of(a_core(), [polled]) == what_came_of(a_core(), [alone(records)])


def test_columns_of_a_refused_record_are_not_those_of_the_others() -> None:
    """A batch may be of records with other columns; one that is refused for its type leaves no column of that type."""
    known = [packed({"cpu": [row(DAY0_NS, v=1)]}, 0)]
    later = [packed({"cpu": [row(DAY0_NS, v=1.5)]}, 1), packed({"cpu": [row(DAY0_NS, w=2)]}, 2)]
    core = a_core()
    found = what_came_of(core, [together(sequenced(*known)), together(sequenced(*later, start=1))])
    ((key, rows),) = found["rows"].items()
    assert [(offset, each.fields) for offset, each in rows] == [(0, {"v": 1}), (2, {"w": 2})]
    columns = core.view.partitions[key].columns
    assert {name: column.value for name, column in columns.items()} == {"v": "integer", "w": "integer"}


def test_what_was_learned_is_forgotten_once_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series and shapes that no longer come cost no memory for ever, and nothing changes for the rows."""
    monkeypatch.setattr(joining, "SERIES_BYTES_MAX", 100)
    monkeypatch.setattr(joining, "COLUMNS_MAX", 9)
    known = Known()
    for n in range(20):
        rows = [row(DAY0_NS, f"host-{n}-{k}", v=1.0) for k in range(5)]
        (joined,) = together(sequenced(packed({f"t{n}": rows}, n), start=n), known).joined
        assert rows_in(joined) == rows
        assert len(known._tables) <= 3
        assert sum(table.bytes for table in known._series.values()) <= 100


def test_sets_of_tag_keys_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs memory, however short its series are."""
    monkeypatch.setattr(joining, "SERIES_BYTES_MAX", 4_000)
    known = Known()
    for n in range(100):
        together(sequenced(packed({"t": [Row(DAY0_NS, {f"k{n}": "a"}, {"v": 1.0})]}, n), start=n), known)
        assert len(known._series) <= 12


def test_nothing_applied_is_no_row() -> None:
    """A poll of repeats alone."""
    polled = together(sequenced(packed({"cpu": [row(DAY0_NS, v=1)]}, 0)))
    assert list(Arrivals(polled).rows()) == []


# In the tree


@pytest.mark.parametrize("seed", range(30))
def test_a_batch_of_many_records_is_added_as_each_alone(seed: int) -> None:
    """Any frontier, any days, records far apart: the same rows are durable, and the others in memory by offset."""
    drawn = random.Random(seed)
    corners = [(drawn.randrange(12), DAY0_NS + drawn.choice([0, 2, DAY_NS, TIME_END - DAY0_NS])) for _ in range(3)]
    frontiers = {PartitionKey(NAMESPACE, "cpu", DAY0_NS // DAY_NS): Frontier(corners)}
    times = [
        [DAY0_NS + drawn.randrange(4) + DAY_NS * drawn.randrange(2) for _ in range(drawn.randint(1, 3))]
        for _ in range(10)
    ]
    rows = [[row(time_ns, f"h{n % 3}", v=float(n)) for time_ns in each] for n, each in enumerate(times)]
    arrivals_ns = np.cumsum([drawn.choice([0, 1, 40]) for _ in rows])
    one, many = BufferTree(30), BufferTree(30)
    durable = sum(add_rows(one, "cpu", each, n, int(arrivals_ns[n]), frontiers) for n, each in enumerate(rows))
    flat = [each for record in rows for each in record]
    counts = np.array([len(each) for each in rows])
    brought = TableColumns(TableId(NAMESPACE, "cpu"), columns(flat))
    origins = Origins(np.arange(10), np.cumsum(counts) - counts, arrivals_ns)
    assert many.add(brought, series_rows(batch(flat)), origins, frontiers)[0] == durable
    assert (many.rows, many.first_offset()) == (one.rows, one.first_offset())
    assert many.partitions.keys() == one.partitions.keys()
    for key, partition in many.partitions.items():
        assert rows_and_offsets(partition.view()) == rows_and_offsets(one.partitions[key].view())
        assert all(chunk.last_arrival_ns - chunk.first_arrival_ns <= 30 for chunk in partition.chunks)
