"""The file log, crashed at every point: a workload, what it was promised, and the law that every recovery must keep.

The law, for each state a crash leaves: opening succeeds; what is read is exactly what was appended, at contiguous
offsets, nothing twice; everything acknowledged, and everything any reader was ever given, is at its offset, unless
a trim was asked for above it; nothing refused (`written: no`) is there; the epoch has grown; the next append is stored.
The recovery itself is crashed, too: at each of its points, and after it, by a power cut and by a kill that leaves
everything unsynced.
"""

import errno
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from common.values.errors import Unavailable
from common.values.ids import Offset
from tests.support.buffer_records import record
from tests.support.crash_disk import CrashDisk
from tests.support.crash_exploration import hold
from tests.support.crash_model import Folder
from tests.support.crash_states import CrashPoint, Recorder
from tests.support.file_log import FOLDER, OneLog
from writebuffer.contract import Cursor
from writebuffer.errors import BufferNotFound, OffsetTrimmed
from writebuffer.file.log import LogWriter
from writebuffer.record import Record

SEGMENT_BYTES = 2048
LATER = 10_000
"""Numbers of the records that are appended after a recovery."""

Numbers = dict[int, int]
"""The number of the record at each offset."""


@dataclass(frozen=True)
class Promised:
    """What the log has promised its users up to some instant; never changed, only replaced.

    stored: acknowledged or read. sent: every number whose append was begun. refused: of those, the failed ones with
    `written: no`. trimmed: the greatest offset that was asked to be trimmed below.
    """

    stored: Numbers = field(default_factory=dict)
    sent: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    trimmed: int = 0


class Records:
    """Every record of a run, by its number."""

    def __init__(self) -> None:
        self._made: dict[int, Record] = {}

    def make(self, number: int, payload_bytes: int) -> Record:
        return self._made.setdefault(number, record(number, payload_bytes))

    def number(self, found: Record) -> int:
        number = found.headers.producer_sequence
        hold(self._made.get(number) == found, f"record {number} is not what was appended")
        return number


class LogLife:
    """Uses one log on a disk, and a tailer that looks at every instant."""

    def __init__(self, disk: CrashDisk, made: Records, promised: Promised | None = None) -> None:
        self.log = OneLog(SEGMENT_BYTES, disk)
        self.promised = promised or Promised()
        self.number_from = 0
        """Added to the numbers of what is committed."""
        self.failed: list[str] = []
        """`written` of each commit that failed."""
        self._made = made
        self._writer: LogWriter | None = None
        self._tailer: Cursor | None = None

    def open(self) -> None:
        """As a router starts."""
        self.log.backend.create(1)
        self._writer = self.log.open()

    def close(self) -> None:
        assert self._writer
        writer, self._writer = self._writer, None
        writer.close()

    def killed(self) -> None:
        self.log.disk.kill()
        self._writer = self._tailer = None

    def commit(self, numbers: Sequence[int], payload_bytes: int = 400) -> None:
        """Append one group. A poisoned log is opened again first."""
        if self._writer and self._writer.poison:
            self.close()
        if self._writer is None:
            self.open()
        assert self._writer
        numbers = [self.number_from + number for number in numbers]
        self.promised = replace(self.promised, sent=self.promised.sent | set(numbers))
        group = [self._made.make(number, payload_bytes) for number in numbers]
        try:
            first = self._writer.commit(group)
        except Unavailable as error:
            self.failed.append(error.written)
            if error.written == "no":
                self.promised = replace(self.promised, refused=self.promised.refused | set(numbers))
            return
        self._is_batch_at({first + at: number for at, number in enumerate(numbers)})

    def trim(self, before: int) -> None:
        assert self._writer
        self.promised = replace(self.promised, trimmed=max(self.promised.trimmed, before))
        self._writer.trim(Offset(before))

    def look(self) -> Promised:
        """The tailer reads what it can; what was promised by now."""
        found = self._read()
        if found:
            self._is_batch_at(found)
        return self.promised

    def read_all(self) -> Numbers:
        """Everything from the first offset on, by a reader of its own."""
        self._tailer = None
        return self._read()

    def sought(self, offsets: Iterable[int]) -> Numbers:
        """The record at each offset, sought from the newest down, so that no seek is on the way to the next."""
        cursor = self.log.backend.open_reader().cursor(0)
        found: Numbers = {}
        for offset in reversed(list(offsets)):
            cursor.seek(Offset(offset))
            found |= {one.offset: self._made.number(one.record) for one in cursor.poll(1, 2**20, 0).records}
        return found

    def _read(self) -> Numbers:
        try:
            if self._tailer is None:
                self._tailer = self.log.backend.open_reader().cursor(0)
            return self._polled(self._tailer)
        except BufferNotFound:
            return {}

    def _polled(self, cursor: Cursor) -> Numbers:
        found: Numbers = {}
        while True:
            try:
                batch = cursor.poll(1000, 2**20, 0)
            except OffsetTrimmed as trimmed:
                try:
                    cursor.seek(trimmed.first_offset)
                except Unavailable:
                    return found  # the horizon went back below a trim: readers wait until the log was opened again
                continue
            if not batch.records:
                return found
            found |= {one.offset: self._made.number(one.record) for one in batch.records}

    def _is_batch_at(self, found: Numbers) -> None:
        known = self.promised.stored
        hold(all(known.get(at, number) == number for at, number in found.items()), f"offsets with two records: {found}")
        self.promised = replace(self.promised, stored=known | found)


def rolls_and_trims(life: LogLife) -> None:
    """Groups, rolls, a huge batch, a trim, closing."""
    life.commit([2])
    life.commit([3, 4])
    life.commit([5], 3000)
    life.trim(3)
    life.commit([6, 7])
    life.close()


def killed_and_opened_again(life: LogLife) -> None:
    """The process dies and leaves reserved space and an unsynced horizon; everything but the newest is trimmed."""
    life.commit([2, 3])
    life.killed()
    life.open()
    life.commit([4])
    life.trim(99)
    life.close()
    life.open()
    life.close()


def failing_writes(life: LogLife) -> None:
    """A batch is half written, then whole in a new segment; another is whole, but its write fails, there too."""
    disk = life.log.disk
    disk.fail("write", errno.EIO, kept_bytes=700)
    life.commit([2, 3])
    disk.fail("write", errno.EIO, times=9, kept_bytes=2000)
    life.commit([4])
    disk.heal()
    life.commit([5, 6])


def failing_syncs(life: LogLife) -> None:
    """A sync fails in the segment that is being written, and then the first of a new one."""
    disk = life.log.disk
    disk.fail("sync", errno.EIO)
    life.commit([2])
    life.commit([3])
    disk.fail("sync", errno.EIO)
    life.commit([4], 2000)
    life.commit([5])


def full_disk(life: LogLife) -> None:
    """There is no room for a batch, then for all of it."""
    disk = life.log.disk
    disk.space_bytes = disk.used_bytes()
    life.commit([2, 3], 1500)
    disk.heal()
    life.commit([4, 5], 1500)


def long_life(life: LogLife) -> None:
    """All of it in one log."""
    rolls_and_trims(life)
    life.open()
    for at, part in enumerate((failing_writes, failing_syncs, full_disk, killed_and_opened_again), 1):
        life.number_from = 20 * at
        part(life)
        if part is not killed_and_opened_again:
            life.commit([8])


WORKLOADS = (rolls_and_trims, killed_and_opened_again, failing_writes, failing_syncs, full_disk)


def recorded(workload: Callable[[LogLife], None], made: Records) -> list[CrashPoint[Promised]]:
    """The crash points of a workload, the making of the buffer and two records included."""
    disk = CrashDisk()
    life = LogLife(disk, made)
    with Recorder(disk, life.look) as recorder:
        lived(workload, life)
    return recorder.points


def lived(workload: Callable[[LogLife], None], life: LogLife) -> LogLife:
    life.open()
    life.commit([0, 1])
    workload(life)
    return life


@dataclass(frozen=True)
class Outcome:
    """before: what readers got before anybody opened the log for writing. recovered: what is there after that."""

    before: Numbers
    recovered: Numbers
    first_offset: int


class LogLaw:
    """Implements Law."""

    def __init__(self, made: Records) -> None:
        self._made = made

    def recover(self, root: Folder) -> Outcome:
        """Read, open for writing, read again, append, read that."""
        life = LogLife(CrashDisk(root), self._made)
        before = life.read_all()
        names = life.log.segments() if life.log.disk.stat(FOLDER) else []
        life.open()
        recovered = life.read_all()
        first, end = life.log.offsets()
        hold(list(recovered) == list(range(first, end)), f"offsets {first}..{end}, read {recovered}")
        hold(len(set(recovered.values())) == len(recovered), f"a record occurs twice: {recovered}")
        hold(life.sought(recovered) == recovered, f"a seek to each of {list(recovered)} finds another record")
        life.commit([2 * LATER])
        hold(life.read_all() == {**recovered, end: 2 * LATER}, "the next append is not where it belongs")
        epochs = [_epoch(name) for name in life.log.segments() if name not in names]
        hold(min(epochs) > max(map(_epoch, names), default=0), f"epochs {epochs} after {names}")
        return Outcome(before, recovered, first)

    def judge(self, outcome: Outcome, known: Promised) -> None:
        stored = known.stored | outcome.before
        lost = {at: number for at, number in stored.items() if outcome.recovered.get(at, number) != number}
        lost |= {at: number for at, number in stored.items() if at not in outcome.recovered and at >= known.trimmed}
        hold(not lost, f"promised and not there, or another: {lost}; there is {outcome.recovered}")
        hold(
            all(at < outcome.first_offset for at in stored if at not in outcome.recovered),
            f"a hole: {outcome.recovered}, promised {stored}",
        )
        found = set(outcome.recovered.values())
        hold(found <= known.sent, f"never sent: {found - known.sent}")
        hold(not found & known.refused, f"refused as not written, and there: {found & known.refused}")

    def live_on(self, disk: CrashDisk, known: Promised) -> list[CrashPoint[Promised]]:
        """Open the log and append one record."""
        life = LogLife(disk, self._made, known)
        with Recorder(disk, life.look) as recorder:
            life.open()
            life.commit([LATER])
        return recorder.points

    def mark(self, known: Promised) -> Hashable:
        return frozenset(known.stored.items()), known.sent, known.refused, known.trimmed


def _epoch(segment: str) -> int:
    return int(segment[21:-4])
