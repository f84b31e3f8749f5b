"""The soft memory limit against what is in memory: churning tag values cost no more jobs than their bytes."""

from dataclasses import replace

from tests.support.ingester_rig import RULES, IngesterRig
from tests.support.records import DAY0_NS, row

SOFT_BYTES = 100_000


def test_churning_tag_values_cut_as_many_jobs_as_their_bytes_need() -> None:
    """Values of persisted rows are freed: they do not hold memory over the limit and cut a job at each poll."""
    rig = IngesterRig(replace(RULES, soft_memory_bytes=SOFT_BYTES, hard_memory_bytes=3 * SOFT_BYTES))
    rows_per_job: list[int] = []
    bytes_per_job: list[int] = []
    for poll in range(100):
        for record in range(10):
            hosts = [f"host-{poll}-{record}-{n}" for n in range(5)]
            rig.append({"cpu": [row(DAY0_NS + n, host, v=1.0) for n, host in enumerate(hosts)]})
        rig.poll()
        for job in rig.persists:
            rows_per_job.append(job.view.rows)
            bytes_per_job.append(sum(piece.bytes for piece in job.view.pieces))
        rig.settle()
        assert rig.core.bytes_buffered <= SOFT_BYTES
    assert 5 < len(rows_per_job) < 1.5 * sum(bytes_per_job) / SOFT_BYTES
    assert max(rows_per_job) < 1.2 * min(rows_per_job)
    assert rig.read() == rig.expected()


def test_churning_tag_values_of_a_job_that_is_not_committed_yet_cut_no_others() -> None:
    """Committed a poll later than cut: what a job holds must not count against the rows that came after it."""
    rig = IngesterRig(replace(RULES, soft_memory_bytes=SOFT_BYTES, hard_memory_bytes=3 * SOFT_BYTES))
    jobs = 0
    for poll in range(100):
        before = len(rig.persists)
        for record in range(10):
            hosts = [f"host-{poll}-{record}-{n}" for n in range(5)]
            rig.append({"cpu": [row(DAY0_NS + n, host, v=1.0) for n, host in enumerate(hosts)]})
        rig.poll()
        jobs += len(rig.persists) - before
        for _ in range(before):
            rig.persist()
        while rig.commits:
            rig.commit()
    assert 5 < jobs < 30
    rig.settle()
    assert rig.read() == rig.expected()
