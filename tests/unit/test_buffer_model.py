"""A partition against a plain model: lists of rows, after any puts, cuts by time, retries, drops and reads."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.catalog.manifest.frontier import TIME_END
from common.catalog.partition_key import PartitionKey
from common.values.schema import DAY_NS
from ingester.buffer.chunk import Chunk
from ingester.buffer.piece import PartitionView
from ingester.buffer.tree import BufferTree
from ingester.buffer.waiting import MERGE_COUNT
from ingester.persist.job import view_batches
from tests.support.records import DAY0_NS, NAMESPACE, Row, add_rows, rows_of

KEY = PartitionKey(NAMESPACE, "cpu", DAY0_NS // DAY_NS)
SPAN_NS = 20

hosts = st.sampled_from(["a", "b", "c", "d", None])
fields = st.sampled_from(["v", "w"])
ROWS = st.lists(st.tuples(st.integers(0, 9), hosts, fields), min_size=1, max_size=5)


@dataclass(frozen=True)
class Kept:
    """A row with its record's offset and arrival."""

    offset: int
    arrival_ns: int
    row: Row


@dataclass
class Model:
    waiting: list[Kept] = field(default_factory=list)
    jobs: dict[int, list[Kept]] = field(default_factory=dict)

    def cut(self, job: int, until_ns: int) -> None:
        self.jobs[job] = [kept for kept in self.waiting if kept.row.time_ns <= until_ns]
        self.waiting = [kept for kept in self.waiting if kept.row.time_ns > until_ns]

    def rows(self, without_jobs: frozenset[int] = frozenset()) -> list[Kept]:
        cut = [kept for job, rows in self.jobs.items() if job not in without_jobs for kept in rows]
        return cut + self.waiting


def rows_in(view: PartitionView) -> list[Row]:
    return [each for one in view_batches(view) for each in rows_of(one)]


def check_chunk(chunk: Chunk, kept: list[Kept]) -> None:
    """Offsets, times and sizes are those of its rows; arrivals enclose theirs."""
    starts = [n for n, each in enumerate(kept) if n == 0 or each.offset != kept[n - 1].offset]
    assert chunk.record_rows.tolist() == starts
    assert chunk.record_offsets.tolist() == [kept[start].offset for start in starts]
    assert chunk.first_arrival_ns <= kept[0].arrival_ns <= kept[-1].arrival_ns <= chunk.last_arrival_ns
    assert chunk.last_arrival_ns - chunk.first_arrival_ns <= SPAN_NS
    times = [each.row.time_ns for each in kept]
    assert (chunk.time_ns_min, chunk.time_ns_max) == (min(times), max(times))


class BufferMachine(RuleBasedStateMachine):
    """Steps of a core: records come, jobs are cut and committed in any order; a job tried again reads the same rows."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = BufferTree(SPAN_NS)
        self.model = Model()
        self.views: list[tuple[PartitionView, list[Row]]] = []
        self.next_offset = self.now_ns = self.next_job = 0

    @rule(rows=ROWS, skipped=st.integers(0, 2), waited_ns=st.integers(0, 25), times=st.integers(1, MERGE_COUNT))
    def put(self, rows: list[Any], skipped: int, waited_ns: int, times: int) -> None:
        """The same rows `times` times, so that chunks merge."""
        made = [Row(DAY0_NS + at, {"host": host} if host else {}, {name: 1.0}) for at, host, name in rows]
        self.now_ns += waited_ns
        for _ in range(times):
            offset = self.next_offset + skipped
            self.next_offset = offset + 1
            add_rows(self.tree, "cpu", made, offset, self.now_ns)
            self.model.waiting += [Kept(offset, self.now_ns, each) for each in made]

    @precondition(lambda self: self.model.waiting)
    @rule(at=st.one_of(st.integers(0, 9), st.just(None)))
    def cut(self, at: int | None) -> None:
        until_ns = TIME_END if at is None else DAY0_NS + at
        if not any(kept.row.time_ns <= until_ns for kept in self.model.waiting):
            return
        self.model.cut(self.next_job, until_ns)
        view = self.tree.cut(KEY, self.next_job, until_ns)
        self.views.append((view, [kept.row for kept in self.model.jobs[self.next_job]]))
        assert rows_in(view) == self.views[-1][1]
        assert view.first_offset == min(kept.offset for kept in self.model.jobs[self.next_job])
        self.next_job += 1

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.model.jobs)))
        held = self.tree.bytes
        freed = self.tree.partitions[KEY].in_jobs[job].bytes
        self.tree.drop(KEY, job)
        assert self.tree.bytes == held - freed < held
        del self.model.jobs[job]

    @precondition(lambda self: self.model.rows())
    @rule()
    def read(self) -> None:
        self.views.append((self.tree.partitions[KEY].view(), [kept.row for kept in self.model.rows()]))

    @invariant()
    def views_never_change(self) -> None:
        self.views = self.views[-4:]
        for view, rows in self.views:
            assert rows_in(view) == rows

    @invariant()
    def the_tree_is_the_model(self) -> None:
        kept = self.model.rows()
        assert self.tree.rows == len(kept)
        assert self.tree.first_offset() == min((each.offset for each in kept), default=None)
        if not kept:
            assert (self.tree.bytes, [*self.tree]) == (0, [])
            return
        partition = self.tree.partitions[KEY]
        assert rows_in(partition.view()) == [each.row for each in kept]
        for done in (frozenset({job}) for job in self.model.jobs):
            left = self.model.rows(done)
            assert partition.first_offset(done) == min((each.offset for each in left), default=None)
        for chunk in partition.view().chunks:
            check_chunk(chunk, kept[: chunk.rows])
            kept = kept[chunk.rows :]

    @invariant()
    def bytes_are_those_of_what_is_held(self) -> None:
        """Each chunk, and the series of each piece, once."""
        pieces = [piece for partition in self.tree for piece in partition.view().pieces]
        chunks = {id(chunk): chunk.bytes for piece in pieces for chunk in piece.chunks}
        series = {id(piece.series): piece.series.held_bytes for piece in pieces}
        assert self.tree.bytes == sum(chunks.values()) + sum(series.values())

    @invariant()
    def rows_that_wait_have_series_of_their_own(self) -> None:
        """Exactly theirs: what was cut has its own."""
        for partition in self.tree:
            if self.model.waiting:
                piece = partition.view().pieces[-1]
                values = {kept.row.tags["host"] for kept in self.model.waiting if kept.row.tags}
                found = piece.series.tags["host"].texts() if "host" in piece.series.tags else []
                assert sorted(found) == sorted(values)
                assert len(piece.series) == len({kept.row.tags.get("host") for kept in self.model.waiting})


TestBuffer = BufferMachine.TestCase
TestBuffer.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
