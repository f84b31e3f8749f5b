"""A new process after a crash: exactly the rows that are not durable are applied again."""

from collections.abc import Callable

from tests.support.ingester_rig import SECOND_NS, IngesterRig, a_rig, cpu
from tests.support.records import DAY0_NS, row


def test_replay_after_a_crash_at_every_point_drops_exactly_the_covered_rows() -> None:
    """After any steps, a new process reads the same rows, each once."""

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
    mark = rig.core.state.as_of.stream
    assert (mark.identity, mark.last_offset, mark.last_checksum) == ("stream", 6, rig.log[1].record.checksum)
    rig.restart()
    assert rig.claimed.as_of.stream == mark
    assert rig.claimed.as_of.log_time_ns == DAY0_NS
