"""Records that are decided all at once: nothing differs from one after another."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from common.catalog.manifest.producers import EXPIRY_NS
from common.values.ids import Offset
from common.values.schema import ColumnType, TableId
from ingester.buffer.origins import TableColumns
from ingester.core import run
from ingester.core.clock import SKEW_NS
from ingester.core.core import IngesterCore
from ingester.core.events import Polled, Tick
from ingester.following.decode import Decoded, Joined, Undecodable
from tests.support.ingester_rig import a_rig
from tests.support.records import DAY0_NS
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

TABLES = [
    TableColumns(TableId("n", "cpu"), {"host": ColumnType.TAG, "v": ColumnType.FLOAT}),
    TableColumns(TableId("n", "cpu"), {"host": ColumnType.TAG, "w": ColumnType.FLOAT}),
    TableColumns(TableId("n", "cpu"), {"host": ColumnType.TAG, "v": ColumnType.INTEGER}),
    TableColumns(TableId("n", "disk"), {"free": ColumnType.FLOAT}),
]

usual = st.tuples(
    st.integers(0, 1),
    st.sampled_from([1, 1, 1, 1, 3]),
    st.sampled_from([0, 1, -5, SKEW_NS]),
    st.sampled_from([(0,), (0, 3), (3,)]),
)
"""Producer, by how much its sequence and the time go on, and tables."""

odd = st.tuples(
    st.integers(0, 2),
    st.sampled_from([-3, 0, 1, 2]),
    st.sampled_from([0, EXPIRY_NS - 3, EXPIRY_NS + 1]),
    st.sampled_from([(0,), (1, 3), (2,), ()]),
)

polls = st.lists(
    st.one_of(st.lists(usual, min_size=run.RECORDS_MIN, max_size=20), st.lists(odd, max_size=6)), max_size=6
)


def numbered(found: list[list[tuple[int, int, int, tuple[int, ...]]]]) -> list[list[Decoded]]:
    """No tables: cannot be read."""
    sequences, offset, time_ns, numbered = {0: 10, 1: 10, 2: 10}, 0, DAY0_NS, []
    for poll in found:
        records = []
        for producer, further, later_ns, tables in poll:
            sequences[producer] = max(0, sequences[producer] + further)
            time_ns += later_ns
            producer_id = bytes([producer]) * 16
            headers = RecordHeaders(ENTRY_CONTENT_TYPE, "n", producer_id, sequences[producer], time_ns)
            record = Record.of(headers, bytes(offset % 7))
            content = Joined("n", tuple(TABLES[at] for at in tables), 1 + len(tables), 50)
            marks = Offset(offset), record, record.checksum(), time_ns, producer_id, sequences[producer]
            records.append(Decoded(*marks, content if tables else Undecodable("bad", 1)))
            offset += 1 + offset % 2
        numbered.append(records)
    return numbered


def apply(core: IngesterCore, records: Sequence[Decoded]) -> None:
    if records:
        core.step(Polled(tuple(records), Offset(records[-1].offset + 1), False))


def said(core: IngesterCore, offsets: Sequence[Offset]) -> list[object]:
    """All that follows from the records applied."""
    ledger = core._intake.ledger
    settled = [ledger.settled_at(Offset(offset + 1)) for offset in offsets]
    as_of = [(each.as_of.log_time_ns, each.as_of.stream, each.as_of.accounts, each.columns) for each in settled]
    producers = [each.as_of.producers.to_json() for each in settled]
    limits = [ledger.replay_offset_within(100, most) for most in (0, 3, 10)]
    taken = [each.as_of.rows_taken for each in settled]
    now = core.applied_offset, core.counters, core._clock.now_ns, ledger.log_time_ns, ledger.accounts
    return [*now, ledger.log_bytes, ledger.log_records, as_of, producers, limits, taken]


@given(polls, st.booleans())
def test_records_applied_together_are_as_applied_one_after_another(
    found: list[list[tuple[int, int, int, tuple[int, ...]]]], ticks: bool
) -> None:
    """Whatever producers, holes, repeats, clocks and columns: the same accounts, marks, producers and times."""
    together, alone = a_rig().core, a_rig().core
    for records in numbered(found):
        if ticks:
            together.step(Tick(DAY0_NS))
            alone.step(Tick(DAY0_NS))
        apply(together, records)
        for record in records:
            apply(alone, [record])
        offsets = [record.offset for record in records]
        assert said(together, offsets) == said(alone, offsets)
