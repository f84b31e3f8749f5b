"""The frontier says exactly which rows are durable, against a brute-force set of rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.catalog.manifest.change import AsOf
from common.catalog.manifest.frontier import TIME_END, Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import ManifestNumber, Offset, SequencerId

TIMES = (-(2**63), -5, 0, 3, 7, 2**63 - 1)
OFFSETS = range(12)
ROWS = {(offset, time_ns) for offset in OFFSETS for time_ns in TIMES}
KEY = PartitionKey("metrics", "cpu", 0)

persists = st.lists(st.tuples(st.sampled_from(OFFSETS), st.sampled_from((*TIMES, TIME_END))), max_size=8)
replay_offsets = st.integers(0, 13)


def persisted(corners: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """The rows that persists up to these corners made durable."""
    return {(o, t) for o, t in ROWS for offset, time_ns in corners if o <= offset and t <= time_ns}


def built(corners: list[tuple[int, int]]) -> Frontier:
    frontier = Frontier()
    for offset, time_ns in corners:
        frontier = frontier.with_corner(offset, time_ns)
    return frontier


@given(persists)
def test_the_frontier_covers_exactly_what_was_persisted(corners: list[tuple[int, int]]) -> None:
    """For any order of persists and any times they were cut at: no row more and none less."""
    frontier = built(corners)
    assert {row for row in ROWS if frontier.covers(Offset(row[0]), row[1])} == persisted(corners)
    assert frontier == Frontier(reversed(corners))


@given(persists, st.sampled_from(OFFSETS))
def test_the_mask_of_a_record_is_the_answer_for_each_row(corners: list[tuple[int, int]], offset: int) -> None:
    """covered() over a record's times equals covers() one by one, int64's ends included."""
    frontier = built(corners)
    mask = frontier.covered(Offset(offset), np.array(TIMES, np.int64))
    assert mask.tolist() == [frontier.covers(Offset(offset), time_ns) for time_ns in TIMES]


@given(persists, replay_offsets)
def test_what_the_replay_offset_says_may_be_forgotten(corners: list[tuple[int, int]], replay_offset: int) -> None:
    """Dropping the corners below the replay offset changes nothing for the state that knows it."""
    frontier = built(corners).above(Offset(replay_offset))
    state = ManifestState(SequencerId(0), as_of=AsOf(Offset(replay_offset)), frontiers={KEY: frontier})
    covered = {(o, t) for o, t in ROWS if state.covers(KEY, Offset(o), t)}
    assert covered == persisted(corners) | {(o, t) for o, t in ROWS if o < replay_offset}
    assert all(offset >= replay_offset for offset, _ in frontier)


@given(persists)
def test_corners_form_a_staircase(corners: list[tuple[int, int]]) -> None:
    """Offsets rise while times fall: no corner says what another one says already."""
    kept = list(built(corners))
    assert kept == sorted(set(kept))
    assert [time_ns for _, time_ns in kept] == sorted({time_ns for _, time_ns in kept}, reverse=True)
    assert set(kept) <= set(corners)


@given(persists, st.sampled_from(OFFSETS))
def test_persisting_everything_leaves_one_corner(corners: list[tuple[int, int]], offset: int) -> None:
    """A corner at the highest offset and the end of time makes all others needless."""
    top = max([offset, *(o for o, _ in corners)])
    assert list(built([*corners, (top, TIME_END)])) == [(top, TIME_END)]


def test_a_partition_without_a_frontier_is_not_covered() -> None:
    """Only the replay offset speaks for a partition that no commit named."""
    state = ManifestState(SequencerId(0), number=ManifestNumber(1), as_of=AsOf(Offset(4)))
    assert state.covers(KEY, Offset(3), 0)
    assert not state.covers(KEY, Offset(4), 0)
