"""What `penstock log salvage` says: what is lost of what cannot be read, and what is persisted all the same."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from common.catalog.manifest.change import AsOf
from common.catalog.manifest.frontier import Frontier
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import Offset, SequencerId
from penstock.buffers.salvage import Found, next_step, text
from penstock.commands.log import command
from writebuffer.salvaging import Remains, Salvaged, Stretch

ONE = SequencerId(1)


def stretches(*pairs: tuple[int, int]) -> list[Stretch]:
    return [Stretch(Offset(first), Offset(end)) for first, end in pairs]


def found(replay_offset: int, *readable: tuple[int, int], end: int = 20, ahead: int | None = None) -> Found:
    """Of a log that had offsets 4 to end - 1. ahead: a partition is persisted up to that offset."""
    state = ManifestState(ONE, as_of=AsOf(replay_offset=Offset(replay_offset)))
    if ahead is not None:
        key = PartitionKey("n", "t", 0)
        state = replace(state, frontiers=state.frontiers.update({key: Frontier([(Offset(ahead), 0)])}))
    at = Offset(end)
    return Found(state, Remains(Offset(4), stretches(*readable), [], [], Offset(0), at, at))


@pytest.mark.parametrize(
    ("one", "lost", "persisted", "unpersisted"),
    [
        (found(10, (4, 12), (14, 20)), [(12, 14)], [], [(12, 14)]),
        (found(13, (4, 12), (14, 20)), [(12, 14)], [(12, 13)], [(13, 14)]),
        (found(14, (4, 12), (14, 20)), [(12, 14)], [(12, 14)], []),
        (found(10, (6, 8), (9, 11)), [(4, 6), (8, 9), (11, 20)], [(4, 6), (8, 9)], [(11, 20)]),
        (found(7), [(4, 20)], [(4, 7)], [(7, 20)]),
        (found(20, (4, 20)), [], [], []),
    ],
)
def test_what_cannot_be_read_is_divided_by_the_persisted_offset(
    one: Found, lost: list[tuple[int, int]], persisted: list[tuple[int, int]], unpersisted: list[tuple[int, int]]
) -> None:
    assert one.remains.lost == stretches(*lost)
    assert one.persisted == stretches(*persisted)
    assert one.unpersisted == stretches(*unpersisted)
    assert ("--accept-loss" in next_step([one])) == bool(unpersisted)


def test_rows_of_lost_records_that_are_stored_ahead_are_told_of() -> None:
    """By the greatest offset of a frontier, where that is above a record that is lost."""
    assert found(10, (4, 12), (14, 20), ahead=15).stored_ahead == 16
    assert found(10, (4, 12), (14, 20), ahead=11).stored_ahead is None
    assert "below 16 the store has the rows of some partitions" in text(found(10, (4, 12), (14, 20), ahead=15))


def test_the_text_says_what_will_be_done_and_what_was_done() -> None:
    one = found(10, (4, 12), (14, 20))
    assert "With --accept-loss what is readable and not persisted is kept" in text(one)
    done = replace(one, salvaged=Salvaged(one.remains, stretches((10, 12), (14, 20)), "/log/001.lost-1"))
    assert "salvaged: kept 10 to 11, 14 to 19; the log goes on at offset 20" in text(done)
    assert "the old files are in /log/001.lost-1" in text(done)


def test_a_buffer_on_a_server_and_a_missing_cluster_are_refused_with_what_to_do(tmp_path: object) -> None:
    run = CliRunner().invoke(command, ["salvage", str(tmp_path), "--write-buffer", "redis://localhost"])
    assert run.exit_code != 0
    assert "A damaged or lost log" in str(run.exception)
    run = CliRunner().invoke(command, ["salvage", f"{tmp_path}/none"])
    assert "does not exist" in str(run.exception)
