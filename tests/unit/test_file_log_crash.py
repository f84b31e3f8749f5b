"""The file log over several lives with faults drawn at random: what was acknowledged is there; all else may be missing.

Every crash point of a life, one after the other, is in tests/faults/test_crash_points.py.
"""

import errno
import random
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.errors import Unavailable
from tests.support.buffer_records import numbers, read_all, records
from tests.support.crash_disk import PowerCut
from tests.support.file_log import OneLog
from writebuffer.file.segment import OpenSegment


@dataclass
class Round:
    """One life of the machine: groups to commit (their sizes), faults on the way, and where the power goes."""

    groups: list[int]
    cut_after: int
    seed: int
    failing: list[tuple[str, int]]


rounds_of_life = st.lists(
    st.builds(
        Round,
        groups=st.lists(st.integers(1, 30), min_size=1, max_size=6),
        cut_after=st.integers(1, 60),
        seed=st.integers(0, 2**32),
        failing=st.lists(
            st.tuples(st.sampled_from(["sync", "write", "sync_folder", "rename"]), st.integers(1, 12)), max_size=2
        ),
    ),
    min_size=1,
    max_size=4,
)


@dataclass
class Life:
    """Runs rounds on one log, and knows what was sent and what was acknowledged."""

    log: OneLog = field(default_factory=OneLog)
    acknowledged: dict[int, int] = field(default_factory=dict)
    sent: int = 0

    def live(self, one: Round) -> None:
        disk = self.log.disk
        for act, number in one.failing:
            disk.fail(act, errno.EIO, number=number, kept_bytes=700)
        disk.crash_at(one.cut_after)
        with suppress(PowerCut, OSError):
            self._write(one.groups)
        disk.crash(random.Random(one.seed))
        self._check(read_all(self.log.backend), whole=False)

    def _write(self, groups: list[int]) -> None:
        writer = self.log.open()
        for size in groups:
            ids = range(self.sent, self.sent + size)
            self.sent += size
            try:
                first = writer.commit(records(ids, 150))
            except Unavailable:
                if writer.poison:
                    writer.close()
                    writer = self.log.open()
                continue
            self.acknowledged |= {first + index: number for index, number in enumerate(ids)}
        writer.close()

    def check(self) -> None:
        self.log.open().close()
        self._check(read_all(self.log.backend), whole=True)

    def _check(self, read: list[tuple[int, object]], *, whole: bool) -> None:
        found = dict(zip((offset for offset, _ in read), numbers(record for _, record in read), strict=True))
        assert list(found) == list(range(len(found))), "offsets have a hole"
        assert len(set(found.values())) == len(found), "a record occurs twice"
        assert all(0 <= number < self.sent for number in found.values()), "a record that was never sent"
        missing = {offset: number for offset, number in self.acknowledged.items() if found.get(offset) != number}
        if not whole:
            missing = {offset: found[offset] for offset in missing if offset in found}
        assert not missing, f"acknowledged, but not there or another: {missing}"


@settings(max_examples=150, deadline=None)
@given(rounds_of_life)
def test_acknowledged_records_survive_every_crash(rounds: list[Round]) -> None:
    """Acknowledged ⊆ recovered, contiguous, no phantom: over several crashes, I/O errors and reopenings."""
    life = Life()
    for one in rounds:
        life.live(one)
    life.check()


def test_the_checker_catches_a_writer_that_resolves_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer without its fdatasync loses acknowledged records, and the same check says so."""
    monkeypatch.setattr(OpenSegment, "sync", lambda self: None)

    def fails(seed: int) -> bool:
        life = Life()
        try:
            life.live(Round([9, 3, 14, 2], 40, seed, []))
            life.check()
        except Exception:  # noqa: BLE001  DataCorrupt at open, or the check itself: both notice
            return True
        return False

    assert any(fails(seed) for seed in range(50))
