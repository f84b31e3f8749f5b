"""A crash before and after each thing that is made durable: nothing is lost, and nothing is there twice."""

from tests.scenarios.crashing import crash_everywhere
from tests.scenarios.scenario import play
from tests.support.figures import record_figure


def test_a_crash_before_and_after_each_step_of_a_persist() -> None:
    """The file's put, the manifest's, the dead letter's, the trim; and the next one's, once the first was trimmed."""
    points = crash_everywhere("""
        write cpu@0 mem@0, write cpu@1, poison cpu@2, repeat 1, write cpu@3
        poll 2, cut cpu, persist, commit, trim
        poll, letter, cut mem, cut cpu, persist mem, commit, trim
        write cpu@0=7 cpu@1d, poll, cold, trim
    """)
    record_figure(f"{len(points)} crash points around the puts and trims of a persist")
    for what in ("data", "manifest", "dead-letter", "trim"):
        assert {f"before {what}", f"after {what}"} <= set(points)


def test_a_crash_before_and_after_each_step_of_a_claim() -> None:
    """The claim's record, and the files that the last process put and did not name being removed."""
    points = crash_everywhere(
        "crash, poll, cut cpu, persist, commit", given="write cpu@0, poll, cut cpu, fail manifest 5, persist, commit"
    )
    assert {"before manifest", "after manifest", "before delete data", "after delete data"} <= set(points)


def test_a_swap_between_two_persists() -> None:
    """A lost file is made again by a replay and named in the same record as the persist that ended meanwhile."""
    play("""
        write cpu@0=1, poll, cut cpu, persist, commit
        write mem@0, poll, cut mem, lose cpu, replay
        persist, settle, expect swaps committed, expect files 2
        write cpu@0=2, poll, cut cpu, persist, commit
        expect value cpu@0=2, expect files 3
    """)


def test_one_replay_mends_two_partitions() -> None:
    play("write cpu@0 mem@0 cpu@1d, poll, cut cpu mem, settle, lose cpu@0, lose mem, mend, expect files 3, restart")


def test_a_swap_of_a_partition_that_is_persisted_meanwhile() -> None:
    """Its file is newer than what the swap was made from: refused, and made again with the newer value."""
    play("""
        write cpu@0=1 cpu@1=1, poll, cut cpu, persist, commit
        write cpu@0=2, poll, cut cpu, persist, lose cpu
        replay, commit, expect swaps refused
        replay, commit, expect swaps refused+committed
        expect value cpu@0=2, expect value cpu@1=1
    """)


def test_a_crash_before_and_after_each_step_of_a_swap() -> None:
    """Killed before its commit the file is still lost, and is mended by another replay; after it, it is there."""
    points = crash_everywhere(
        "replay, commit, write cpu@1 cpu@0=3, poll, cut cpu, persist, commit",
        given="write cpu@0 mem@0, poll, cut cpu, persist, commit, lose cpu",
    )
    assert points[:4] == ["before data", "after data", "before manifest", "after manifest"]
