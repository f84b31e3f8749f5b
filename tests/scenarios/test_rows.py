"""Rows that are late, early, repeated or overwritten, and clocks that disagree: read as the log says, from any file."""

import pytest

from tests.scenarios.crashing import crash_everywhere
from tests.scenarios.scenario import play


def test_the_ends_of_time_are_persisted_and_replayed() -> None:
    """int64 min and max: on both sides of a cut, durable and not, over a crash."""
    play("""
        write cpu@min cpu@0 cpu@max, write cpu@max=2 cpu@min=2
        poll, cut cpu@0, persist, commit, expect buffered 4
        crash, poll, expect durable 1, expect value cpu@max=2, expect value cpu@min=2
        cut cpu@min until min, persist, commit, expect overwritten 1, expect buffered 2
        crash, poll, expect buffered 2, expect durable 3
    """)


def test_the_clock_goes_backwards() -> None:
    """Over persists and a crash: what was cold is durable, what is not waits, the log's time stays."""
    play("""
        clock 1000, write cpu@0, poll, clock 1301, settle, expect files 1
        clock 100, write cpu@1, poll, tick 10, expect jobs 0, expect log-time 1000
        crash, poll, tick 10, expect jobs 0, expect buffered 1, expect log-time 1000
        clock 1400, expect jobs 1, settle, expect files 2, expect log-time 1000
    """)


def test_routers_clocks_are_apart() -> None:
    """Two of them, an hour apart, take turns: each row waits one window, and no persist waits for an hour."""
    play("""
        clock 0
        write mem@0 at=0 producer=1, write cpu@0 at=3600 producer=2, write cpu@1 at=0 producer=1
        poll, tick 1, expect jobs 0, tick 310, expect jobs 2
        persist cpu, commit, crash, poll, expect durable 2, expect buffered 1
        expect log-time 3600
    """)


def test_late_rows_are_in_the_next_file() -> None:
    """They are counted, read at once, and the later file has the newer value."""
    play("""
        write cpu@10=1 cpu@20=1, poll, cut cpu, persist, commit, expect late 0
        write cpu@10=2 cpu@15=2 cpu@30=2, poll, expect late 2, expect value cpu@10=2
        cut cpu, persist, commit
        crash, poll, expect value cpu@10=2, expect value cpu@20=1, expect value cpu@15=2, expect files 2
    """)


def test_repeats_are_recognised_after_what_they_repeat_was_persisted_and_trimmed() -> None:
    """Sequence k + 1 came before k: both are applied, and both are known when they come again."""
    play("""
        write cpu@1=1 sequence=1, write cpu@0=1 sequence=0, poll, cold, trim, expect log 0
        write cpu@1=5 cpu@0=5 sequence=2, repeat 0, crash
        repeat 1, repeat 2, poll, expect duplicate 4, expect value cpu@0=5, expect value cpu@1=5
        cold, trim, crash, repeat 0, repeat 2, poll, expect duplicate 7
    """)


@pytest.mark.parametrize("second", ["cut cpu, persist, commit", "cold, trim", "poll"])
def test_a_key_is_overwritten_across_files(second: str) -> None:
    """Field by field, the newest record wins wherever it is: in a file, in memory, or read again."""
    play(f"""
        write cpu@0=v:1, write cpu@0=w:1, poll, cut cpu, persist, commit, expect overwritten 1
        write cpu@0=v:2, poll, {second}
        write cpu@0=w:3, poll
        expect value cpu@0=v:2, expect value cpu@0=w:3
        crash, poll, expect value cpu@0=v:2, expect value cpu@0=w:3, expect rows 1
    """)


def test_an_older_value_does_not_come_back_after_any_crash() -> None:
    """Overwritten twice, in three files that are made in another order than their rows came."""
    crash_everywhere(
        """
        cut cpu until 0, persist, commit
        write cpu@0=3, poll, cut cpu until 1, persist, commit, cut cpu, persist, commit, trim
        """,
        given="write cpu@0=1 cpu@1=1, write cpu@1=2 cpu@0=2 cpu@9=2, poll",
    )


def test_a_row_of_the_far_future_makes_no_row_late() -> None:
    """It waits until its partition is cold; those of the present are persisted before it, in order."""
    play(
        """
        clock 0, write cpu@20000
        30 times write cpu@{n}0, poll, tick 60, settle
        expect files at least 3, expect buffered at least 1, expect late 0
        """,
        persist_row_threshold=5,
    )
