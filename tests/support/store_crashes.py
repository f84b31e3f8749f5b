"""Log and object store on one disk, crashed at every point: rows from the append to the file that a manifest names.

The sequence of a running cluster with its real parts: a group in the log, an ingester that claims, applies, persists
and commits, the log trimmed below the replay offset that the manifest then names, and again. The law, for each state:
every file that the manifest names exists, whole; a new ingester can claim, so no trim was ahead of a durable manifest;
every acknowledged row is in a file or comes out of the log from the replay offset on, exactly once; no row is there
that was never written; and after another round it is so again.
"""

import io
import random
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import pyarrow.parquet as pq
import xxhash

from common.catalog.cursors import Consumed
from common.catalog.manifest.change import Instance
from common.catalog.manifest.state import ManifestState
from common.store.local import LocalStore
from common.values.config import IngesterConfig
from common.values.errors import Unavailable
from common.values.ids import SequencerId
from ingester.core.core import IngesterCore
from ingester.core.events import Polled
from ingester.core.lifecycle import Rules
from ingester.following.claim import claim
from ingester.following.decode import decode
from ingester.persist.job import view_batches
from ingester.persist.unnamed import remove_unnamed_files
from tests.support.crash_disk import CrashDisk
from tests.support.crash_exploration import hold
from tests.support.crash_model import Folder
from tests.support.crash_states import CrashPoint, Recorder
from tests.support.file_log import OneLog
from tests.support.golden_folder import ingest
from tests.support.records import DAY0_NS, record, row, rows_of
from writebuffer.errors import BufferNotFound
from writebuffer.file.log import LogWriter

SEQUENCER = SequencerId(0)
SEGMENT_BYTES = 2048
STORE = "/data/store"
RULES = Rules.of(IngesterConfig())


@dataclass(frozen=True)
class Rows:
    """Written rows, by number. stored: acknowledged."""

    stored: frozenset[int] = frozenset()
    sent: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Found:
    """How often each row is there, in files and after them in the log."""

    rows: Counter[int] = field(default_factory=Counter)


class StoreLife:
    """A router's log and an ingester's store, one call after the other."""

    def __init__(self, disk: CrashDisk, known: Rows | None = None) -> None:
        self.log = OneLog(SEGMENT_BYTES, disk)
        self.store = LocalStore(disk, STORE)
        self.known = known or Rows()
        self._writer: LogWriter | None = None

    def open(self) -> None:
        self.log.backend.create(1)
        self._writer = self.log.open()

    def write(self, *numbers: int) -> None:
        """One record, a row for each number."""
        assert self._writer
        self.known = replace(self.known, sent=self.known.sent | set(numbers))
        rows = [row(DAY0_NS + number, "a" * 200, value=number) for number in numbers]
        self._writer.commit([record({"cpu": rows}, sequence=numbers[0])])
        self.known = replace(self.known, stored=self.known.stored | set(numbers))

    def persist(self) -> None:
        """An ingester's life, from the claim to the last commit."""
        ingest(self.log.backend.open_reader(), self.store, SEQUENCER)

    def trim(self) -> None:
        """As far as the manifest allows, as the log's owner asks for it."""
        assert self._writer
        reader = self.log.backend.open_reader()
        self._writer.trim(Consumed(self.store).below(SEQUENCER, reader.identity(SEQUENCER)))
        reader.close()

    def close(self) -> None:
        assert self._writer
        self._writer.close()

    def claims_alone(self) -> None:
        """An ingester may be started before the router: it claims, or waits."""
        try:
            claim(self.log.backend.open_reader(), self.store, SEQUENCER, Instance("early"), accept_loss=False)
        except (BufferNotFound, Unavailable):
            return

    def rows(self) -> Counter[int]:
        """What a query finds, once a new ingester has claimed and replayed."""
        reader = self.log.backend.open_reader()
        state = claim(reader, self.store, SEQUENCER, Instance("later"), accept_loss=False).state
        remove_unnamed_files(state, self.store)
        core = IngesterCore(state, RULES, 1 << 28, 4, random.Random(0))
        cursor = reader.cursor(SEQUENCER)
        cursor.seek(state.replay_offset)
        batch = cursor.poll(1000, 1 << 24, 0)
        core.step(Polled(tuple(map(decode, batch.records)), batch.next_offset, True))
        found = Counter(self._in_files(state))
        for view in core.view.partitions.values():
            for part in view_batches(view):
                found.update(each.fields["value"] for each in rows_of(part))
        return found

    def _in_files(self, state: ManifestState) -> list[int]:
        found: list[int] = []
        for file in state.files.values():
            data = self.store.get(file.path)
            hold(len(data) == file.size_bytes, f"{file.path}: {len(data)} bytes, the manifest names {file.size_bytes}")
            hold(xxhash.xxh3_64_intdigest(data) == file.checksum, f"{file.path} is not what the manifest names")
            found += _numbers(data)
        return found


@lru_cache(maxsize=1000)
def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(each.fields["value"] for each in rows_of(pq.read_table(io.BytesIO(data))))


def workload(life: StoreLife) -> None:
    """Two rounds of writing, persisting and trimming, a row overtaken by its trim, and a last record not persisted."""
    life.open()
    life.write(0, 1)
    life.write(2)
    life.persist()
    life.write(3)
    life.trim()
    life.write(4, 5)
    life.persist()
    life.trim()
    life.write(6)
    life.close()


def trims_after_kills() -> Iterator[list[CrashPoint[Rows]]]:
    """An ingester is killed at each of its points, and the log's owner trims by the manifest that it left."""
    life = StoreLife(CrashDisk())
    life.open()
    life.write(0, 1)
    for number in (2, 3, 4):
        life.write(number)
    with Recorder(life.log.disk, lambda: life.known) as recorder:
        life.persist()
    for point in recorder.points:
        owner = StoreLife(CrashDisk(point.image.still_running()), point.known)
        owner.open()
        with Recorder(owner.log.disk, lambda owner=owner: owner.known) as trimming:
            owner.trim()
        yield trimming.points[-1:]


def recorded() -> list[CrashPoint[Rows]]:
    disk = CrashDisk()
    life = StoreLife(disk)
    with Recorder(disk, lambda: life.known) as recorder:
        workload(life)
    return recorder.points


class StoreLaw:
    """Implements Law."""

    def recover(self, root: Folder) -> Found:
        life = StoreLife(CrashDisk(root))
        life.claims_alone()
        life.open()
        return Found(life.rows())

    def judge(self, outcome: Found, known: Rows) -> None:
        lost = known.stored - set(outcome.rows)
        hold(not lost, f"acknowledged rows that are nowhere: {sorted(lost)}")
        phantoms = set(outcome.rows) - known.sent
        hold(not phantoms, f"rows never written: {sorted(phantoms)}")
        doubled = [number for number, times in outcome.rows.items() if times > 1]
        hold(not doubled, f"rows in two places: {doubled}")

    def live_on(self, disk: CrashDisk, known: Rows) -> Sequence[CrashPoint[Rows]]:
        """Write, persist and trim once more."""
        life = StoreLife(disk, known)
        with Recorder(disk, lambda: life.known) as recorder:
            life.open()
            life.write(100)
            life.persist()
            life.trim()
        return recorder.points

    def mark(self, known: Rows) -> Hashable:
        return known
