"""A persist job: the rows of one partition, cut by the core, made into Parquet files by a worker.

The job is a value and its outcome depends on it alone: a job tried again writes the same files under the same names.
"""

from dataclasses import dataclass

import pyarrow as pa

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.frontier import Corner
from common.catalog.merge import merge
from common.catalog.partition_key import PartitionKey
from common.store.objects import ObjectStore
from common.values.ids import Epoch, Offset, SequencerId
from ingester.buffer.piece import PartitionView, with_values
from ingester.persist.data_file import Origin, put_file, slices

SMALL_ROWS = 1_000
SMALL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PersistJob:
    """view: the rows, at least one: all with time <= until_ns that came up to last_offset and are in no older job.

    last_offset: one below the applied offset at the cut.
    """

    number: int
    sequencer: SequencerId
    epoch: Epoch
    view: PartitionView
    last_offset: Offset
    until_ns: int
    sort_key: tuple[str, ...]
    file_bytes_max: int

    @property
    def key(self) -> PartitionKey:
        return self.view.key

    @property
    def first_offset(self) -> Offset:
        return self.view.first_offset

    @property
    def is_small(self) -> bool:
        """It takes hardly longer than making a file durable does: many of them at once are worth it."""
        return self.view.rows <= SMALL_ROWS and sum(piece.bytes for piece in self.view.pieces) <= SMALL_BYTES

    @property
    def corner(self) -> Corner:
        """What the frontier of the partition gains once the job is committed."""
        return self.last_offset, self.until_ns


@dataclass(frozen=True, slots=True)
class PersistResult:
    """The files, durable but not named yet, and the rows that newer ones of the same key overwrote."""

    files: tuple[StoredFile, ...]
    overwritten: int


def view_batches(view: PartitionView) -> list[pa.RecordBatch]:
    """The rows of a view in penstock's schema, a batch for each chunk, oldest first; each has its chunk's columns."""
    return [with_values(chunk, piece.series) for piece in view.pieces for chunk in piece.chunks]


def persist(job: PersistJob, store: ObjectStore) -> PersistResult:
    """Merge, encode and put, each file durable at return. Raises Unavailable (try the same job again)."""
    merged = merge(view_batches(job.view), job.view.columns, job.sort_key)
    origin = Origin(job.key, job.sequencer, job.epoch, job.first_offset, job.last_offset, job.number)
    parts = enumerate(slices(merged.rows, job.file_bytes_max))
    files = tuple(put_file(origin, part, rows, job.sort_key, store) for part, rows in parts)
    return PersistResult(files, merged.overwritten)
