"""Records that cannot be applied: kept before the replay offset passes them."""

from ingester.core.events import Pause
from tests.support.ingester_rig import a_rig, cpu


def test_the_replay_offset_waits_for_the_dead_letter() -> None:
    """A record that cannot be decoded is kept in the store before a restart would pass it."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1), bad=True)
    rig.append(cpu(2))
    rig.poll()
    letter = rig.letters[0]
    assert (letter.offset, letter.data) == (1, rig.log[1].record.data)
    assert "checksum" in letter.reason
    rig.tick(301)
    rig.persist()
    rig.commit()
    assert (rig.core.state.replay_offset, rig.core.state.accounts.dead) == (1, 0)
    rig.dead_letter(fails=True)
    assert not rig.letters
    rig.tick(61)
    assert rig.letters == [letter]
    rig.dead_letter()
    rig.tick(61)
    rig.settle()
    assert (rig.core.state.replay_offset, rig.core.state.accounts.dead) == (3, 1)


def test_a_stream_of_nothing_but_poison_still_advances() -> None:
    """The replay offset moves although nothing is ever persisted, so that the log can be trimmed."""
    rig = a_rig()
    for seconds in range(5):
        rig.append(cpu(seconds), bad=True)
    rig.poll()
    rig.tick(1)
    rig.settle()
    rig.tick(61)
    rig.settle()
    assert (rig.core.state.replay_offset, rig.core.state.accounts.dead) == (5, 5)


def test_a_poison_record_that_repeats_one_is_a_duplicate() -> None:
    """The header says whose record it is; one appearance becomes a dead letter, its repeat is only counted."""
    rig = a_rig()
    rig.append(cpu(0), bad=True)
    rig.again(0)
    rig.poll()
    assert (rig.core.counters.rows_dead, rig.core.counters.rows_duplicate, len(rig.letters)) == (1, 1, 1)


def test_dead_letters_that_wait_count_as_memory() -> None:
    """A store that is away and a stream of poison: polling stops before memory is full."""
    rig = a_rig(soft_memory_bytes=2000, hard_memory_bytes=4000)
    for seconds in range(20):
        rig.append(cpu(seconds), bad=True)
    assert any(isinstance(action, Pause) for action in rig.poll())
    while rig.letters:
        rig.dead_letter()
    assert not rig.paused
