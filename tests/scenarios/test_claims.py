"""Two ingesters on one sequencer: the older one is fenced at its next commit, and every row is there once."""

import pytest

from tests.scenarios.scenario import play


@pytest.mark.parametrize("persisted", ["persist", "persist, write cpu@1, poll"])
def test_the_older_of_two_ingesters_is_fenced(persisted: str) -> None:
    """Its file is never named: the newer one reads the rows from the log."""
    play(f"""
        A: write cpu@0, poll, cut cpu, {persisted}
        B: claim
        A: commit raises Fenced
        B: poll, expect files 0, cut cpu, persist, commit, expect files 1
    """)


def test_the_older_one_is_fenced_after_the_newer_one_persisted() -> None:
    """Both had made a file of the same rows; one of them is named."""
    play("""
        A: write cpu@0, poll, cut cpu
        B: claim, poll, cut cpu, persist, commit
        A: persist, commit raises Fenced
        B: expect files 1, expect rows 1, expect buffered 0
    """)


def test_the_older_one_is_fenced_although_its_own_put_was_answered_late() -> None:
    """Its record came first, so the rows are durable, and the newer one does not apply them; what comes next is not."""
    play("""
        A: write cpu@0, poll, cut cpu, persist, commit unanswered
        B: claim, write cpu@1, poll, expect files 1, expect buffered 1
        A: tick, commit, poll, cut cpu, persist, commit raises Fenced
        B: cut cpu, persist, commit, expect files 2, expect rows 2
    """)


def test_the_older_one_is_fenced_whose_put_was_late() -> None:
    """No answer came and the record was not put: the newer one's claim has its number by then."""
    play("""
        A: write cpu@0, poll, cut cpu, persist, fail manifest 5, commit
        B: claim, poll, expect files 0, expect buffered 1
        A: tick, commit raises Fenced
        B: cut cpu, persist, commit, expect files 1
    """)


def test_a_fenced_one_may_have_trimmed_only_what_is_durable() -> None:
    """The older one trims by what the store says, not by what it wished to commit."""
    play("""
        A: write cpu@0, write cpu@1, poll 1, cut cpu, persist, commit, poll, cut cpu, persist
        B: claim
        A: trim, expect log-first 1, commit raises Fenced, trim, expect log-first 1
        B: poll, expect buffered 1, expect rows 2
    """)
