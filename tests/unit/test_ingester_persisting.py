"""Persist jobs and commits: nothing lost, nothing twice, with any failures and any order of jobs' ends."""

from common.values.errors import Unavailable
from common.values.schema import DAY_NS
from ingester.core.events import Commit, Persist, PersistFailed
from ingester.persist.job import SMALL_ROWS
from tests.support.ingester_rig import IngesterRig, a_rig, cpu
from tests.support.records import DAY0_NS, Row, row


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
    """After a crash exactly the rows of the other partition are applied again."""
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
    """Log time does not move while polling is stopped; the wait for another try goes by the wall clock."""
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
    """Whether the put happened or not, the record exists once."""
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


def test_ten_thousand_partitions() -> None:
    """A namespace with 10,000 tables is applied, polled on and persisted within the permits."""
    rig = a_rig()
    for start in range(0, 10_000, 1000):
        rig.append({f"t{n}": [row(DAY0_NS, "a", v=1.0)] for n in range(start, start + 1000)})
    rig.poll(5)
    rig.poll()
    assert len(rig.core.view.partitions) == 10_000
    assert len([action for action in rig.tick(301) if isinstance(action, Persist)]) == 4


def test_a_job_that_failed_is_not_run_by_another_step() -> None:
    """Between failure and the end of its wait nothing hands the same job out twice."""
    rig = a_rig()
    rig.append(cpu(0))
    rig.poll()
    rig.tick(301)
    job = rig.persists.pop()
    rig.step(PersistFailed(job, Unavailable("away")))
    for _ in range(3):
        rig.append(cpu(5))
        rig.poll()
    assert not rig.persists
    rig.tick(2)
    rig.tick(2)
    assert rig.persists == [job]


def test_many_small_jobs_count_as_one() -> None:
    """They mostly wait for the disk. A large one counts as what it is, and at most one goes over the limit."""
    rig = IngesterRig(jobs_max=2, small_jobs_per_job=4)
    large = [row(DAY0_NS + n, "a", v=1.0) for n in range(SMALL_ROWS + 1)]
    for number in range(20):
        rig.append({f"small{number}": [row(DAY0_NS, "a", v=1.0)]})
    rig.append({"large1": large, "large2": large})
    rig.poll()
    rig.tick(301)
    most_small = 0
    while rig.persists:
        small = [job for job in rig.persists if job.is_small]
        weight = len(small) + 4 * (len(rig.persists) - len(small))
        assert weight <= 2 * 4 + 3
        most_small = max(most_small, len(small))
        rig.persist()
        if rig.commits:
            rig.commit()
        rig.tick(1)
    rig.settle()
    assert most_small == 8
    assert rig.core.rows_buffered == 0
    assert rig.read() == rig.expected()
