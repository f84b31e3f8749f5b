"""How an ingester ends: asked to stop, or because its stream is lost, with the store there or away."""

from dataclasses import replace

import pytest

from common.values.errors import Forked, Unavailable
from common.values.ids import Offset
from ingester.core.events import Finish, Pause, StoreAway
from tests.support.ingester_rig import RULES, SECOND_NS, IngesterRig, a_rig, cpu
from tests.support.records import DAY0_NS, row


def test_stopping_with_persist_leaves_nothing_to_replay() -> None:
    """Every row is in a file, the replay offset at the end, and Finish comes once and last."""
    rig = IngesterRig(jobs_max=1)
    for table in ("cpu", "mem", "disk"):
        rig.append({table: [row(DAY0_NS, "a", v=1.0)]})
    rig.append(cpu(1), bad=True)
    rig.poll()
    assert isinstance(rig.stop()[0], Pause)
    rig.settle()
    assert rig.finished
    assert (rig.core.rows_buffered, rig.core.state.replay_offset) == (0, 4)
    assert rig.read() == rig.expected()


def test_stopping_without_persist_leaves_the_rows_to_the_log() -> None:
    """Nothing is waited for, a running job neither; a restart applies all of it again."""
    rig = a_rig()
    rig.append({"mem": [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.tick(301)
    rig.append(cpu(0))
    rig.poll()
    rig.stop(persist=False)
    assert rig.finished
    rig.restart()
    rig.poll()
    assert rig.read() == rig.expected()
    assert rig.core.rows_buffered == 2


def test_an_idle_ingester_stops_at_once() -> None:
    """Nothing in memory, nothing to commit: Finish is in the answer."""
    rig = a_rig()
    assert any(isinstance(action, Finish) for action in rig.stop())


def test_records_that_come_after_the_stop_are_left_alone() -> None:
    """A batch that was on its way changes neither memory nor the applied offset."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.stop()
    rig.poll()
    assert (rig.core.applied_offset, rig.core.rows_buffered) == (0, 0)


def test_a_stop_waits_for_a_commit_that_fails() -> None:
    """Ticks go on; the commit is tried again and then the ingester is finished."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.stop()
    rig.persist()
    rig.store.fail("manifest/", times=5)
    rig.commit()
    assert not rig.finished
    rig.tick()
    rig.settle()
    assert rig.finished
    assert rig.core.state.replay_offset == 1


# A lost stream


LOST = Forked("sequencer 3: the stream is another one", sequencer=3)


def test_what_was_applied_of_a_lost_stream_is_committed_before_the_end() -> None:
    """Rows, dead letters and the replay offset; then Finish carries the error, once."""
    rig = IngesterRig(jobs_max=1)
    for table in ("cpu", "mem"):
        rig.append({table: [row(DAY0_NS, "a", v=1.0)]})
    rig.append(cpu(1), bad=True)
    rig.poll()
    assert isinstance(rig.lose(LOST)[0], Pause)
    rig.settle()
    assert rig.finished
    assert rig.ended_with is LOST
    assert (rig.core.rows_buffered, rig.core.state.replay_offset, rig.core.state.as_of.stream.last_offset) == (0, 3, 2)
    assert rig.read() == rig.expected()


def test_the_next_start_goes_on_in_the_stream_that_was_followed() -> None:
    """Brought back, nothing is applied twice; one without what was read last is Forked."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1))
    rig.poll()
    rig.lose(LOST)
    rig.settle()
    rig.restart()
    rig.append(cpu(2))
    rig.poll()
    assert rig.core.rows_buffered == 1
    assert rig.read() == rig.expected()
    rig.stream.next_offset = Offset(1)
    with pytest.raises(Forked, match="its next offset is 1, the stream was followed up to 2"):
        rig.restart()


def test_a_stream_that_is_lost_while_it_stops_makes_the_end_an_error() -> None:
    """What the stop had begun goes on."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.stop()
    assert not rig.lose(LOST)
    rig.settle()
    assert rig.finished
    assert rig.ended_with is LOST
    assert rig.core.rows_buffered == 0


def test_a_lost_stream_is_never_left_to_the_log() -> None:
    """A stop that would leave the rows there comes too late: the log is what was lost."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.lose(LOST)
    rig.stop(persist=False)
    assert not rig.finished
    rig.settle()
    assert rig.finished
    assert rig.read() == rig.expected()


# The store is away


def test_a_stop_gives_up_on_a_store_that_does_not_answer() -> None:
    """After stop_timeout without an answer it ends, and says what is left to the log; a restart applies it again."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1))
    rig.poll()
    rig.stop()
    rig.store.fail("data/", times=100)
    waited = 0
    while not rig.finished:
        assert waited < 40
        if rig.persists:
            rig.persist()
        rig.tick(1)
        waited += 1
    assert waited >= 30
    assert isinstance(rig.ended_with, Unavailable)
    for part in ("sequencer 3: stopped", "2 rows left in the log", "injected", "from offset 0 on"):
        assert part in str(rig.ended_with)
    rig.restart()
    rig.poll()
    assert rig.read() == rig.expected()


def test_a_stop_waits_for_a_store_that_answers_now_and_then() -> None:
    """However long it takes, as long as something gets done."""
    rig = IngesterRig(jobs_max=1)
    for table in ("cpu", "mem", "disk"):
        rig.append({table: [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.stop()
    for _ in range(3):
        rig.tick(29)
        rig.persist()
        rig.tick(29)
        rig.commit()
    assert rig.finished
    assert rig.ended_with is None


def test_a_stop_has_a_deadline_however_much_gets_done() -> None:
    """Before whoever asked for it kills the process: what is left stays in the log, and is said."""
    rig = IngesterRig(replace(RULES, stop_deadline_ns=60 * SECOND_NS), jobs_max=1)
    for number in range(100):
        rig.append({f"m{number}": [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.tick(0)
    rig.stop()
    for _ in range(30):
        assert not rig.finished
        rig.persist()
        rig.commit()
        rig.tick(2)
    assert rig.finished
    assert "stop_deadline_s, 60 s, is over" in str(rig.ended_with)
    assert len(rig.core.state.files) == 30
    assert "70 rows left in the log" in str(rig.ended_with)
    rig.restart()
    rig.poll()
    assert rig.read() == rig.expected()


def test_the_end_of_a_lost_stream_has_no_deadline() -> None:
    """Its rows are nowhere else."""
    rig = IngesterRig(replace(RULES, stop_deadline_ns=SECOND_NS), jobs_max=1)
    for table in ("cpu", "mem"):
        rig.append({table: [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.lose(LOST)
    for _ in range(2):
        rig.tick(20)
        rig.persist()
        rig.commit()
    assert rig.finished
    assert rig.ended_with is LOST


def test_a_stop_does_not_wait_for_a_retry_that_is_far_away() -> None:
    """A job that failed often waits up to half a minute; asked to stop, it is tried at once."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.tick(301)
    for _ in range(8):
        rig.store.fail("data/")
        rig.persist()
        while not rig.persists:
            rig.tick(1)
    rig.store.fail("data/")
    rig.persist()
    assert not rig.persists
    rig.stop()
    assert len(rig.persists) == 1
    rig.settle()
    assert rig.finished


def test_a_lost_stream_and_no_store_say_how_many_rows_are_lost() -> None:
    """The error keeps its kind, which is the exit code, and names both reasons."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1), bad=True)
    rig.poll()
    rig.lose(LOST)
    rig.store.fail("data/", times=100)
    for _ in range(31):
        if rig.persists:
            rig.persist()
        rig.tick(1)
    assert rig.finished
    assert isinstance(rig.ended_with, Forked)
    for part in (LOST.message, "1 row and 1 dead letter", "injected", "from offset 0 on"):
        assert part in str(rig.ended_with)
    assert str(LOST) == LOST.message


def test_nothing_is_left_where_everything_is_durable() -> None:
    """An idle ingester whose stream is lost ends at once."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.go_cold()
    rig.lose(LOST)
    rig.settle()
    assert rig.finished
    assert rig.ended_with is LOST


def test_a_stop_does_not_wait_for_a_store_that_is_known_to_be_away() -> None:
    """The rows are in the log; a lost stream is waited for, since they are nowhere else."""
    for lost in (False, True):
        rig = a_rig()
        rig.append(cpu(0))
        rig.poll()
        rig.lose(LOST) if lost else rig.stop()
        rig.step(StoreAway("its folder is gone"))
        assert rig.finished != lost
        if lost:
            rig.settle()
            assert rig.ended_with is LOST
        else:
            assert "1 row left in the log" in str(rig.ended_with)
            assert "its folder is gone" in str(rig.ended_with)


def test_a_store_that_is_away_says_nothing_before_the_end() -> None:
    """Nor once it has answered again."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.step(StoreAway("its folder is gone"))
    assert not rig.finished
    rig.go_cold()
    rig.stop()
    rig.settle()
    assert rig.ended_with is None


def test_a_stop_without_its_store_is_an_error_where_nothing_is_left() -> None:
    """What was persisted is away: exit code 0 would say that all is well."""
    for persist in (True, False):
        rig = a_rig()
        rig.step(StoreAway("its folder is gone"))
        rig.stop(persist=persist)
        assert rig.finished
        assert isinstance(rig.ended_with, Unavailable)
        for part in ("sequencer 3: stopped while its object store is away", "its folder is gone", "from offset 0 of"):
            assert part in str(rig.ended_with)
