"""A killed ingester's successor: exactly the rows that are not durable are applied again."""

import pytest

from tests.scenarios.scenario import Scenario, play


@pytest.mark.parametrize(("persisted", "left"), [("cpu", "mem"), ("mem", "cpu")])
def test_one_of_two_partitions_is_persisted(persisted: str, left: str) -> None:
    """The other one, older or newer in the log, is applied again; the replay offset waits for it."""
    play(f"""
        write cpu@0 cpu@1, write mem@0 mem@1
        poll, cut {persisted}, persist, commit
        expect replay-offset {0 if left == "cpu" else 1}
        crash, poll
        expect buffered 2, expect durable {2 if left == "cpu" else 0}
        cut {left}, persist, commit
        expect replay-offset 2, expect buffered 0
    """)


def test_there_is_nothing_to_replay() -> None:
    """After an ordered stop, and on a stream that is empty."""
    play("""
        crash, poll, expect applied 0
        write cpu@0, poll, restart, poll
        expect applied 1, expect durable 0, expect buffered 0, expect files 1, expect epoch 3
    """)


def test_several_sequencers_one_of_them_without_data() -> None:
    """Each replays its own stream, and an idle one is not behind."""
    play("""
        B: claim 4
        C: claim 5
        A: write cpu@0
        C: write cpu@0=2, write cpu@1
        A: poll, cut cpu, persist, commit, crash, poll, expect buffered 0
        B: poll, crash, poll, expect applied 0, expect files 0
        C: poll 1, cut cpu, persist, commit, crash, poll, expect buffered 1, expect replay-offset 1
        C: expect value cpu@0=2
        A: expect value cpu@0=1
    """)


def test_interleaved_writes_over_four_restarts() -> None:
    """Two partitions that take turns, each time another one durable, or none."""
    play("""
        write cpu@0, write mem@0, write cpu@1, poll, cut cpu, persist, commit, crash
        write mem@1, write cpu@2, poll, expect durable 1, expect buffered 3
        cut mem, persist, commit, crash
        write cpu@3 mem@3, poll, expect buffered 3, expect replay-offset 4
        crash, write mem@4, poll, cut cpu, cut mem, persist mem, persist cpu, crash
        poll, expect buffered 4, restart
        poll, expect applied 7, expect rows 8
    """)


def test_the_hard_limit_is_hit_in_mid_replay() -> None:
    """A backlog of several times what may be in memory: replay pauses, persists and goes on."""
    play(
        """
        60 times write t{n}@{n}
        poll 30, expect paused yes
        crash, follow 3, expect paused no, expect pauses at least 2, expect bytes-most at most 60000
        """,
        soft_memory_bytes=20_000,
        hard_memory_bytes=40_000,
    )


def test_the_whole_partition_is_durable() -> None:
    """But for another one, which holds the replay offset: all of its rows are read again, and none is applied."""
    play("""
        write mem@0
        5 times write cpu@{n}
        poll, cut cpu, persist, commit, expect replay-offset 0
        crash, poll, expect durable 5, expect buffered 1
    """)


def test_some_offsets_of_a_partition_are_durable() -> None:
    """Those up to the cut; also where an offset was left out in between."""
    play("""
        write mem@0, write cpu@0, write cpu@1 skip=3, poll
        cut cpu
        write cpu@2, write cpu@0=9, poll
        persist, commit
        crash, poll, expect durable 2, expect buffered 3, expect value cpu@0=9
    """)


def test_some_rows_of_an_offset_are_durable() -> None:
    """Those up to the time of the cut: the others of the same record are applied again."""
    play("""
        write cpu@0 cpu@5 cpu@9, write cpu@4 cpu@6
        poll, cut cpu until 5, persist, commit
        expect buffered 2, expect replay-offset 0
        crash, poll, expect durable 3, expect buffered 2
        cut cpu, persist, commit, expect replay-offset 2, expect late 0
    """)


def test_a_partition_is_persisted_in_part_twice() -> None:
    """Two corners, each with its own offset and time; below both, and only there, rows are durable."""
    play("""
        write cpu@1 cpu@5 cpu@9, poll, cut cpu until 5, persist, commit
        write cpu@2 cpu@3 cpu@8, poll, cut cpu until 2, persist, commit
        write cpu@0, poll
        expect files 2, expect buffered 4, expect replay-offset 0
        crash, poll, expect durable 3, expect buffered 4
        expect replay-offset 0
    """)


def test_what_is_persisted_in_mid_replay_is_not_replayed_again() -> None:
    """The process that replays persists a part, is killed, and the next one replays the rest."""
    play("""
        write cpu@0 mem@0, write cpu@1, write mem@1, write cpu@2
        poll, crash
        poll 2, cut cpu, persist, commit, expect replay-offset 0
        crash, poll 1, expect durable 1, poll 1, expect durable 2
        cut mem, persist, crash
        poll, expect durable 2, expect buffered 3
        cut mem, persist, commit, expect replay-offset 3
    """)


def test_ten_thousand_partitions_are_replayed() -> None:
    """Two of them durable, in the middle of records that touch a thousand each. To persist all would take long."""
    Scenario().do("""
        10 times write t{n}[0-999]@0
        poll, cut t1500 t8500, settle
        crash, poll, expect durable 2, expect buffered 9998
    """)
