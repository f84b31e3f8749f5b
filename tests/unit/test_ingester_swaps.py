"""Swaps: files that a replay made, named by the sequencer's holder in its next record, whole or not at all."""

from dataclasses import replace

import pytest

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.swap import Swap
from common.catalog.paths import data_file
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import Epoch
from ingester.core.events import Answer, CommitFailed, SwapAsked
from ingester.swaps import AskedSwaps
from tests.support.ingester_rig import IngesterRig, a_rig, cpu


def a_rig_with_a_file(**rules: int) -> IngesterRig:
    """One row of cpu in a file."""
    rig = a_rig(**rules)
    rig.append(cpu(0))
    rig.poll()
    rig.go_cold()
    return rig


def only_file(rig: IngesterRig) -> StoredFile:
    (file,) = rig.core.state.files.values()
    return file


def copy_of(rig: IngesterRig, file: StoredFile, job: int = 1_000_000) -> StoredFile:
    """The same rows under a name of the present epoch."""
    folder, first, last = file.partition.folder, file.first_offset, file.last_offset
    path = data_file(folder, rig.core.state.sequencer, rig.core.state.epoch, first, last, job, 0)
    rig.store.put(path, rig.store.get(file.path))
    return replace(file, path=path)


def a_swap(rig: IngesterRig) -> Swap:
    """The only file for a copy of it."""
    file = only_file(rig)
    return Swap.of(rig.core.state, [copy_of(rig, file)], [file])


def test_a_swap_is_committed_and_answered() -> None:
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    rig.step(SwapAsked(swap))
    assert not rig.answers
    rig.commit()
    assert rig.answers == [Answer(swap, rig.core.state.number)]
    assert list(rig.core.state.files) == [swap.files_added[0].path]
    assert rig.read() == rig.expected()


def test_a_swap_with_fewer_rows_keeps_the_accounts() -> None:
    """A damaged file counted rows that a newer file overwrites: the sum of stored and overwritten stays."""
    rig = a_rig_with_a_file()
    before = rig.core.state.accounts
    rig.step(SwapAsked(Swap.of(rig.core.state, [], [only_file(rig)])))
    rig.commit()
    after = rig.core.state.accounts
    assert (after.stored, after.overwritten) == (before.stored - 1, before.overwritten + 1)
    assert after.settled == before.settled


def test_a_file_committed_meanwhile_refuses_it() -> None:
    """It may have newer values for the same keys: committed after it, the swap's older ones would win."""
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    rig.append(cpu(0, v=2.0))
    rig.poll()
    rig.go_cold()
    rig.step(SwapAsked(swap))
    assert not rig.commits
    assert "has other files" in rig.answers[0].refusal
    assert rig.read() == rig.expected()


def test_a_job_of_its_partition_in_the_same_commit_refuses_it() -> None:
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    rig.append({"mem": cpu(0)["cpu"]})
    rig.append(cpu(0, v=2.0))
    rig.poll()
    rig.tick(301)
    rig.persist(0)  # its commit is under way while the next job ends
    assert rig.commits
    rig.persist(0)
    rig.step(SwapAsked(swap))
    rig.settle()
    assert [answer.number for answer in rig.answers] == [None]
    assert rig.read() == rig.expected()


def test_two_swaps_of_one_partition_are_not_both_committed() -> None:
    rig = a_rig_with_a_file()
    file = only_file(rig)
    first, second = (Swap.of(rig.core.state, [copy_of(rig, file, job)], [file]) for job in (1_000_001, 1_000_002))
    rig.append({"mem": cpu(0)["cpu"]})
    rig.poll()
    rig.tick(301)
    rig.persist()
    for swap in (first, second):
        rig.step(SwapAsked(swap))
    rig.settle()
    assert [(answer.swap is first, answer.number is None) for answer in rig.answers] == [(True, False), (False, True)]
    assert rig.read() == rig.expected()


def test_one_that_was_made_under_an_earlier_epoch_is_refused() -> None:
    """Its files are removed at the claim."""
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    rig.restart()
    rig.step(SwapAsked(swap))
    assert "claimed again" in rig.answers[0].refusal


def test_asked_again_it_has_the_same_end() -> None:
    """Whose answer was lost asks again, before or after the commit."""
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    for _ in range(2):
        rig.step(SwapAsked(swap))
    rig.settle()
    rig.step(SwapAsked(swap))
    assert [answer.number for answer in rig.answers] == [rig.core.state.number] * 3


def test_a_commit_of_unknown_outcome_is_the_same_again() -> None:
    rig = a_rig_with_a_file()
    swap = a_swap(rig)
    rig.step(SwapAsked(swap))
    commit = rig.commits.pop()
    rig.step(CommitFailed(Unavailable("no answer", written="unknown")))
    rig.tick(1)
    assert rig.commits == [commit]
    rig.commit()
    assert rig.answers == [Answer(swap, rig.core.state.number)]


def test_a_stop_waits_for_a_swap_that_is_being_committed() -> None:
    rig = a_rig_with_a_file()
    rig.step(SwapAsked(a_swap(rig)))
    rig.stop()
    assert not rig.finished
    rig.commit()
    assert rig.finished
    assert rig.answers[0].number == rig.core.state.number


def test_its_json_says_the_same() -> None:
    swap = a_swap(a_rig_with_a_file())
    assert Swap.from_json(swap.to_json()) == swap


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 9}, "is no file of sequencer 3, epoch 9"),
        ({"sequencer": 2}, "is no file of sequencer 2"),
        ({"made_from": []}, "lacks its partition"),
        ({"made_from": [[["a"], "b"]]}, "no swap"),
        ({"files_added": None}, "no swap"),
    ],
)
def test_what_is_no_swap_is_refused(change: dict[str, object], message: str) -> None:
    values = a_swap(a_rig_with_a_file()).to_json() | change
    with pytest.raises(InvalidRequest, match=message):
        Swap.from_json(values)


def test_a_file_outside_its_partition_s_folder_is_refused() -> None:
    values = a_swap(a_rig_with_a_file()).to_json()
    values["files_added"][0]["path"] = "data/../cluster.json"
    with pytest.raises(InvalidRequest, match="is no file of sequencer"):
        Swap.from_json(values)


def test_who_asks_hears_of_the_end() -> None:
    """Before or after it came."""
    rig = a_rig_with_a_file()
    swaps, swap = AskedSwaps(), replace(a_swap(rig), epoch=Epoch(1))
    before = swaps.ask(swap)
    swaps.end()
    for future in (before, swaps.ask(swap)):
        with pytest.raises(Unavailable, match="stops"):
            future.result(0)
