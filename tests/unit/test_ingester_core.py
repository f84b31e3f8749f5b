"""The ingester's core, step by step: nothing lost, nothing twice, whatever fails and wherever it starts again."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataCorrupt
from common.ids import Offset
from common.schema import DAY_NS
from ingester.events import Commit, DeadLetter, Finish, Pause, Persist, PersistFailed, Polled, Resume
from ingester.lifecycle import Reason
from tests.support.ingester_rig import RULES, SECOND_NS, IngesterRig
from tests.support.records import DAY0_NS, Row, decoded, row


def a_rig(**rules: int) -> IngesterRig:
    return IngesterRig(replace(RULES, **rules))


def cpu(seconds: int = 0, host: str = "a", **fields: object) -> dict[str, list[Row]]:
    """One row of table cpu."""
    return {"cpu": [row(DAY0_NS + seconds * SECOND_NS, host, **(fields or {"v": 1.0}))]}


# Taking in


def test_rows_are_seen_as_soon_as_their_record_is_applied() -> None:
    """The view a step leaves holds every row applied, and the offset it reaches to."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1))
    rig.poll(1)
    assert (rig.core.view.applied_offset, rig.core.rows_buffered) == (1, 1)
    rig.poll()
    assert rig.read() == rig.expected()
    assert len(rig.read()) == 2


def test_a_repeated_record_is_taken_once() -> None:
    """The same producer and sequence at a higher offset: its rows are counted as duplicates and change nothing."""
    rig = a_rig()
    rig.append(cpu(0, v=1.0))
    rig.append(cpu(0, v=2.0))
    rig.again(0)
    rig.poll()
    assert rig.core.counters.rows_duplicate == 1
    assert [*rig.read().values()] == [{"v": 2.0}]


def test_k_plus_1_before_k_is_taken() -> None:
    """Sequences in another order are no repeats; each repeat of one is."""
    rig = a_rig()
    rig.append(cpu(1), sequence=1)
    rig.append(cpu(0), sequence=0)
    rig.again(0)
    rig.again(1)
    rig.poll()
    assert (rig.core.rows_buffered, rig.core.counters.rows_duplicate) == (2, 2)


def test_repeats_are_recognised_across_a_restart() -> None:
    """The manifest's table is as of the replay offset: what lies above it is rebuilt, not taken for repeats."""
    rig = a_rig()
    rig.append(cpu(1), sequence=1)
    rig.poll()
    rig.go_cold()
    rig.append(cpu(0), sequence=0)
    rig.append(cpu(2), sequence=2)
    rig.poll()
    rig.restart()
    rig.again(0)
    rig.again(2)
    rig.poll()
    assert (rig.core.rows_buffered, rig.core.counters.rows_duplicate) == (2, 2)
    assert rig.read() == rig.expected()


def test_an_offset_that_goes_back_is_refused() -> None:
    """A buffer that hands a record out twice is broken: better stop than count rows twice."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    with pytest.raises(DataCorrupt, match="offset 0 came after applied offset 1"):
        rig.core.step(Polled((decoded(0, cpu(0)),), Offset(1), caught_up=True))


def test_a_column_of_another_type_is_refused_whole() -> None:
    """The record goes to a dead letter; its other tables are not taken either."""
    rig = a_rig()
    rig.append(cpu(0, v=1.0))
    rig.append({"cpu": [row(DAY0_NS, "a", v=2)], "mem": [row(DAY0_NS, "a", free=1.0)]})
    actions = rig.poll()
    letters = [action for action in actions if isinstance(action, DeadLetter)]
    assert [letter.offset for letter in letters] == [1]
    assert "'v' is integer in this record and float before" in letters[0].reason
    assert rig.core.counters.rows_dead == 2
    assert rig.read() == rig.expected()


def test_what_was_refused_is_refused_again_by_a_replay() -> None:
    """Refusal follows from the stream, not from what happens to be in memory: no row is stored and dead at once."""
    rig = a_rig()
    rig.append({"mem": [row(DAY0_NS, "a", free=1.0)]})
    rig.append(cpu(0, v=1.0))
    rig.append({"cpu": [row(DAY0_NS, "b", v=2)], "disk": [row(DAY0_NS, "a", used=1.0)]})
    rig.poll()
    rig.tick(200)
    rig.append({"mem": [row(DAY0_NS + 1, "a", free=1.0)]})
    rig.poll()
    rig.tick(101)  # cpu is cold, mem pins the replay offset
    rig.settle()
    assert rig.core.state.replay_offset == 0
    rig.restart()
    rig.poll()
    assert [letter.offset for letter in rig.letters] == [2]
    assert rig.read() == rig.expected()
    rig.go_cold()
    rig.tick(61)
    rig.settle()
    assert rig.read() == rig.expected()
    assert rig.core.state.accounts.dead == 2


def test_time_int64_min_and_max() -> None:
    """The ends of time are rows like any other, in partitions of their own days."""
    rig = a_rig()
    rig.append({"cpu": [row(-(2**63), "a", v=1.0), row(2**63 - 1, "a", v=2.0), row(-1, "a", v=3.0)]})
    rig.poll()
    rig.go_cold()
    assert rig.read() == rig.expected()
    assert {file.partition.day for file in rig.core.state.files.values()} == {-(2**63) // DAY_NS, 2**63 // DAY_NS, -1}
    rig.restart()
    assert rig.read() == rig.expected()


def test_ten_thousand_partitions() -> None:
    """A namespace with 10,000 tables is taken in, polled on and persisted within the permits."""
    rig = a_rig()
    for start in range(0, 10_000, 1000):
        rig.append({f"t{n}": [row(DAY0_NS, "a", v=1.0)] for n in range(start, start + 1000)})
    rig.poll(5)
    rig.poll()
    assert len(rig.core.view.partitions) == 10_000
    assert len([action for action in rig.tick(301) if isinstance(action, Persist)]) == 4


# Persisting


def test_a_persist_moves_rows_from_memory_to_a_file() -> None:
    """Until the commit they are in memory, from it on in the file; the same rows are read at every step."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    for act in (lambda: rig.tick(301), rig.persist, rig.commit):
        act()
        assert rig.read() == rig.expected()
    assert (rig.core.rows_buffered, rig.core.state.replay_offset, len(rig.core.state.files)) == (0, 1, 1)


def test_jobs_that_end_in_the_other_order_are_committed_in_the_order_they_were_cut() -> None:
    """The second job's corner covers the first one's rows: alone in the manifest it would lose them."""
    rig = a_rig(persist_row_threshold=1, late_arrival_window_ns=1)
    for seconds in (0, 1):
        rig.append(cpu(seconds))
        rig.poll()
        rig.tick(1)
    assert [job.last_offset for job in rig.persists] == [0, 1]
    assert not any(isinstance(action, Commit) for action in rig.persist(1))
    rig.persist(0)
    assert [file.first_offset for file in rig.commits[0].change.files_added] == [0, 1]
    rig.commit()
    rig.restart()
    assert rig.read() == rig.expected()


def test_another_partition_does_not_wait_for_a_slow_job() -> None:
    """Order is kept within a partition only; the replay offset waits for all."""
    rig = a_rig()
    rig.append({"cpu": [row(DAY0_NS, "a", v=1.0)]})
    rig.append({"mem": [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.tick(301)
    slow = [job.key.table for job in rig.persists].index("cpu")
    rig.persist(1 - slow)
    rig.commit()
    assert [file.partition.table for file in rig.core.state.files.values()] == ["mem"]
    assert rig.core.state.replay_offset == 0
    rig.restart()
    rig.poll()
    assert (rig.core.counters.rows_durable, rig.core.rows_buffered) == (1, 1)
    assert rig.read() == rig.expected()


def test_one_record_in_two_partitions_one_of_them_persisted() -> None:
    """After a crash exactly the rows of the other partition are taken again."""
    rig = a_rig(soft_memory_bytes=1)
    rig.append({"cpu": [row(DAY0_NS, "a", v=1.0), row(DAY0_NS + DAY_NS, "a", v=2.0)]})
    rig.poll()
    assert len(rig.persists) == 2
    rig.persist()
    rig.commit()
    rig.restart()
    rig.poll()
    assert (rig.core.counters.rows_durable, rig.core.rows_buffered) == (1, 1)
    assert rig.read() == rig.expected()


def test_a_failed_persist_is_tried_again_after_a_while() -> None:
    """The rows stay, the wait doubles within bounds, and the files keep their names."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.tick(301)
    waits = []
    job = rig.persists[0]
    for _ in range(8):
        rig.store.fail("data/")
        rig.persist()
        waits.append(0)
        while not rig.persists:
            waits[-1] += 1
            rig.tick(0.25)
    assert 2 <= waits[0] <= 7
    assert waits[7] > 10 * waits[0]
    assert waits[7] <= 4 * 46
    assert rig.persists == [job]
    rig.settle()
    assert rig.read() == rig.expected()
    assert rig.core.counters.persist_failures == 8


def test_a_failed_persist_is_tried_again_while_catching_up() -> None:
    """Log time stands still while polling is stopped; the wait for another try goes by the wall clock."""
    rig = a_rig(soft_memory_bytes=1, hard_memory_bytes=1)
    rig.append(cpu(0))
    rig.append(cpu(1))
    rig.poll(1)
    rig.tick()
    assert rig.paused
    rig.store.fail("data/")
    rig.persist()
    rig.tick(2)
    assert len(rig.persists) == 1
    rig.settle()
    assert not rig.paused


def test_a_failed_persist_is_tried_again_though_the_clock_was_set_back() -> None:
    """The wait counts the time that ticks see pass: an operator or NTP must not stop persisting for hours."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.tick(301)
    rig.store.fail("data/")
    rig.persist()
    rig.tick(-7200)
    rig.tick(2)
    assert len(rig.persists) == 1


def test_a_commit_of_unknown_outcome_is_tried_again_with_its_nonce() -> None:
    """Whether the put happened or not, the record stands once."""
    for how in ("before", "after"):
        rig = a_rig()
        rig.append(cpu(0))
        rig.poll()
        rig.tick(301)
        rig.persist()
        asked = rig.commits[0]
        rig.store.fail("manifest/", how, times=5)
        if how == "before":
            rig.commit()
            assert not rig.commits
            rig.tick()
            assert rig.commits == [asked]
        rig.commit()
        assert rig.core.state.number == 2
        assert len([path for path in rig.store.objects if path.startswith("manifest/")]) == 2
        assert rig.read() == rig.expected()


def test_no_permit_free_is_looked_at_again_when_a_job_ends() -> None:
    """With one permit the partitions go one after another, without waiting for the next tick."""
    rig = IngesterRig(jobs_max=1)
    for table in ("cpu", "mem", "disk"):
        rig.append({table: [row(DAY0_NS, "a", v=1.0)]})
    rig.poll()
    rig.tick(301)
    assert len(rig.persists) == 1
    rig.settle()
    assert (rig.core.rows_buffered, len(rig.core.state.files)) == (0, 3)


def test_tags_keep_their_place_in_the_sort_key() -> None:
    """Those with few values first; one that comes later is appended, none is moved, over a restart too."""
    rig = a_rig()
    rig.append({"cpu": [Row(DAY0_NS + n, {"host": f"h{n}", "az": "x"}, {"v": 1.0}) for n in range(3)]})
    rig.poll()
    rig.go_cold()
    rig.restart()
    rig.append({"cpu": [Row(DAY0_NS, {"host": "h", "az": f"x{n}", "aa": "y"}, {"v": 1.0}) for n in range(3)]})
    rig.poll()
    rig.go_cold()
    assert [file.sort_key for file in rig.core.state.files.values()] == [("az", "host"), ("az", "host", "aa")]


# Memory and log pressure


def test_over_the_hard_limit_polling_stops_until_the_soft_one_is_kept() -> None:
    """Back-pressure reaches the buffer; nothing is dropped."""
    rig = a_rig(soft_memory_bytes=3000, hard_memory_bytes=6000)
    for seconds in range(8):
        rig.append({f"t{seconds}": cpu(seconds)["cpu"]})
    actions = rig.poll()
    assert any(isinstance(action, Pause) for action in actions)
    resumed = []
    while not resumed:
        resumed = [action for action in (rig.persist() if rig.persists else rig.commit()) if isinstance(action, Resume)]
        assert bool(resumed) == (rig.core.bytes_buffered <= 3000)
    rig.settle()
    assert rig.read() == rig.expected()


def test_memory_that_dictionaries_hold_is_freed_too() -> None:
    """Rows under the limit with dictionaries over it: while behind, where no clock would make them due, they go."""
    rig = a_rig(soft_memory_bytes=40_000, hard_memory_bytes=40_000)
    rig.append({"cpu": [row(DAY0_NS, str(n) + "x" * 200, v=1.0) for n in range(100)]})
    rig.append(cpu(1))
    rig.append(cpu(2))
    rig.poll(2)
    rig.settle()
    rig.tick(1)
    rig.settle()
    assert not rig.paused
    assert rig.core.bytes_buffered <= 40_000


def test_the_partition_that_pins_the_log_is_persisted() -> None:
    """One tiny warm partition beside a torrent: the log behind the replay offset stays bounded."""
    rig = a_rig(log_bytes_max=20_000)
    rig.append({"slow": [row(DAY0_NS, "a", v=1.0)]})
    for seconds in range(40):
        rig.append(cpu(seconds))
        rig.append({"slow": [row(DAY0_NS + seconds, "a", v=1.0)]})
        rig.poll()
        rig.tick(1)
        rig.settle()
        assert rig.core.log_bytes <= 20_000 + 2 * 1000
    assert rig.core.counters.persists[Reason.LOG] > 1


def test_a_torrent_is_looked_at_between_ticks() -> None:
    """After RECORDS_BETWEEN_PLANS records log pressure is seen without a tick."""
    rig = a_rig(log_bytes_max=1)
    one = decoded(0, cpu(0), sequence=0)
    many = tuple(replace(one, offset=Offset(n), producer_sequence=n) for n in range(10_000))
    actions = rig.core.step(Polled(many, Offset(10_000), caught_up=False))
    assert [action.job.last_offset for action in actions if isinstance(action, Persist)] == [9_999]


# Dead letters


def test_the_replay_offset_waits_for_the_dead_letter() -> None:
    """A record that cannot be decoded is put aside before a restart would pass it."""
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
    """The header says whose record it is; one appearance is put aside, its repeat is only counted."""
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


# Stopping


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
    """Nothing is waited for, a running job neither; a restart takes all of it again."""
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


# Clock


def test_while_catching_up_time_is_the_log_s() -> None:
    """Rows of an hour ago are not cold because the wall clock says so; at the end of the log it counts."""
    rig = a_rig()
    rig.append(cpu(0), append_time_ns=DAY0_NS)
    rig.append(cpu(1), append_time_ns=DAY0_NS + 10 * SECOND_NS)
    rig.append(cpu(2), append_time_ns=DAY0_NS + 10 * SECOND_NS)
    rig.now_ns = DAY0_NS + 3600 * SECOND_NS
    rig.poll(2)
    rig.tick()
    assert not rig.persists
    rig.poll()
    rig.tick()
    assert len(rig.persists) == 1


def test_a_router_whose_clock_is_far_ahead_delays_no_persist() -> None:
    """Its rows arrive when the ingester sees them: they are cold a window later, not when that clock has come round."""
    rig = a_rig()
    rig.now_ns = DAY0_NS
    rig.tick(0)
    rig.append(cpu(0), append_time_ns=DAY0_NS + 365 * 86_400 * SECOND_NS)
    rig.poll()
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS + 311 * SECOND_NS
    rig.tick(0)
    assert len(rig.persists) == 1


def test_tiny_records_press_on_the_log_too() -> None:
    """Each record above the replay offset costs memory of its own: many small ones make their partition go."""
    rig = a_rig(log_bytes_max=100 * 4096)
    for sequence in range(101):
        rig.append(cpu(sequence), sequence=sequence)
    rig.poll()
    rig.tick(0)
    assert len(rig.persists) == 1


def test_log_time_never_goes_back() -> None:
    """Routers' clocks differ: a record with an older append time arrives when the newest one did."""
    rig = a_rig()
    rig.append(cpu(0), append_time_ns=DAY0_NS + 1000 * SECOND_NS)
    rig.append(cpu(1), append_time_ns=DAY0_NS)
    rig.poll()
    rig.now_ns = DAY0_NS + 1200 * SECOND_NS
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS  # the wall clock stepped back: never below the log's time
    rig.tick(0)
    assert not rig.persists
    rig.now_ns = DAY0_NS + 1301 * SECOND_NS
    rig.tick(0)
    rig.settle()
    assert rig.core.state.log_time_ns == DAY0_NS + 1000 * SECOND_NS


# Restarts


def test_replay_after_a_crash_at_every_point_drops_exactly_the_covered_rows() -> None:
    """Whatever steps were done before, a new process reads the same rows, each once."""

    def steps(rig: IngesterRig) -> list[Callable[[], object]]:
        return [
            lambda: rig.poll(2),
            lambda: rig.poll(1),
            rig.tick,  # cpu is cold by the log's time, mem is not
            rig.persist,
            rig.commit,
            rig.poll,
            lambda: rig.tick(700),
            lambda: rig.persist(1),
            rig.persist,
            rig.commit,
            rig.settle,
        ]

    for crash_after in range(12):
        rig = a_rig()
        rig.append({"cpu": [row(DAY0_NS, "a", v=1.0)], "mem": [row(DAY0_NS, "a", v=1.0)]})
        rig.append(cpu(1))
        rig.append({"mem": [row(DAY0_NS + 1, "a", v=1.0)]}, append_time_ns=DAY0_NS + 301 * SECOND_NS)
        rig.append(cpu(1, v=2.0), append_time_ns=DAY0_NS + 301 * SECOND_NS, skip=3)
        rig.again(1)
        for step in steps(rig)[:crash_after]:
            step()
        rig.restart()
        rig.poll()
        assert rig.read() == rig.expected(), f"crash after {crash_after} steps"
        rig.go_cold()
        assert rig.read() == rig.expected()
        assert rig.core.state.accounts.settled == 6


def test_a_restart_forgets_no_log_time_and_no_identity() -> None:
    """The stream's mark is the record right below the replay offset; the claim resumes it."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.append(cpu(1), skip=5)
    rig.poll()
    rig.go_cold()
    mark = rig.core.state.stream
    assert (mark.identity, mark.last_offset, mark.last_checksum) == ("stream", 6, rig.log[1].record.checksum)
    rig.restart()
    assert rig.claimed.stream == mark
    assert rig.claimed.log_time_ns == DAY0_NS


def test_figures_can_be_read_while_records_are_applied() -> None:
    """Metrics are scraped on another thread: reading the accounts never fails, whatever the core does meanwhile."""
    rig = a_rig()
    one = decoded(0, cpu(0))
    errors: list[BaseException] = []
    done = threading.Event()

    def scrape() -> None:
        try:
            while not done.is_set():
                assert rig.core.accounts.duplicate >= 0
        except BaseException as error:  # noqa: BLE001  reported below
            errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    for start in range(0, 20_000, 1000):
        records = tuple(replace(one, offset=Offset(n)) for n in range(start, start + 1000))
        rig.core.step(Polled(records, Offset(start + 1000), caught_up=True))
    done.set()
    thread.join()
    assert not errors
    assert rig.core.accounts.duplicate == 19_999


# Everything at once

tables = st.dictionaries(
    st.sampled_from(["cpu", "mem"]),
    st.lists(
        st.builds(
            lambda day, at, host, fields: Row(DAY0_NS + day * DAY_NS + at, {"host": host} if host else {}, fields),
            st.integers(0, 1),
            st.integers(0, 2),
            st.sampled_from(["a", "b", ""]),
            st.dictionaries(st.sampled_from(["v", "w"]), st.sampled_from([1.0, 2.0, 3.0]), min_size=1),
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("append"), tables),
        st.tuples(st.just("other type"), st.just({"cpu": [row(DAY0_NS, "a", v=7)], "mem": [row(DAY0_NS, w=1.0)]})),
        st.tuples(st.just("poison"), tables),
        st.tuples(st.just("again"), st.integers(0, 30)),
        st.tuples(st.just("poll"), st.integers(1, 3)),
        st.tuples(st.just("tick"), st.sampled_from([1, 100, 301])),
        st.tuples(st.just("persist"), st.integers(0, 3)),
        st.tuples(st.just("persist fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("commit fails"), st.sampled_from(["before", "after"])),
        st.tuples(st.just("letter"), st.booleans()),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=40,
)


def act(rig: IngesterRig, kind: str, value: object) -> None:
    """One event, where it can happen now."""
    match kind, value:
        case "append" | "other type", dict():
            rig.append(value)
        case "poison", dict():
            rig.append(value, bad=True)
        case "again", int() if rig.log:
            rig.again(rig.log[value % len(rig.log)].record.offset)
        case "poll", int():
            rig.poll(value)
        case "tick", int():
            rig.tick(value)
        case "persist", int() if rig.persists:
            rig.persist(value % len(rig.persists))
        case "persist fails", str() if rig.persists:
            rig.store.fail("data/", value)
            rig.persist()
        case "commit", _ if rig.commits:
            rig.commit()
        case "commit fails", str() if rig.commits:
            rig.store.fail("manifest/", value, times=5 if value == "before" else 1)
            rig.commit()
        case "letter", bool() if rig.letters:
            rig.dead_letter(fails=value)
        case "restart", _:
            rig.restart()


@settings(max_examples=150)
@given(events, st.sampled_from([10**9, 3000]), st.sampled_from([1, 4]))
def test_accounts_and_rows_hold_after_any_events(
    drawn: list[tuple[str, object]], soft_memory_bytes: int, jobs_max: int
) -> None:
    """Rows taken = stored + overwritten + buffered + duplicate + dead after every step, and what is read is the log."""
    rig = IngesterRig(replace(RULES, soft_memory_bytes=soft_memory_bytes), jobs_max=jobs_max)
    for kind, value in drawn:
        act(rig, kind, value)
        assert rig.read() == rig.expected()
    rig.poll()
    rig.go_cold()
    rig.tick(61)
    rig.settle()
    assert rig.read() == rig.expected()
    state = rig.core.state
    assert state.replay_offset == rig.next_offset
    assert state.accounts.settled == sum(each.record.rows for each in rig.log)
    assert state.accounts.dead == sum(each.record.rows for each in rig.log if each.fate == "dead")
    assert state.accounts.duplicate == sum(each.record.rows for each in rig.log if each.fate == "duplicate")


def test_a_job_that_failed_is_not_run_by_another_step() -> None:
    """Between failure and the end of its wait nothing hands the same job out twice."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.tick(301)
    job = rig.persists.pop()
    rig.step(PersistFailed(job))
    for _ in range(3):
        rig.append(cpu(5))
        rig.poll()
    assert not rig.persists
    rig.tick(2)
    rig.tick(2)
    assert rig.persists == [job]
