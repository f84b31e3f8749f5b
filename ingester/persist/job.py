"""A persist job: the rows of one partition, cut by the core, made into Parquet files by a worker.

The job is a value and its outcome depends on it alone: a job tried again writes the same files under the same names.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.frontier import Corner
from common.catalog.merge import merge
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import data_file
from common.store.objects import AlreadyExists, ObjectStore
from common.values.errors import DataCorrupt
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import TIME, times_ns
from ingester.buffer.piece import PartitionView, with_values

WRITER = f"penstock {version('penstock')}"
ROW_GROUP_ROWS = 1024 * 1024
DICTIONARY_PAGE_BYTES = 128 * 1024
ZSTD_LEVEL = 1


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
    files = tuple(_put(job, part, rows, store) for part, rows in enumerate(_parts(merged.rows, job.file_bytes_max)))
    return PersistResult(files, merged.overwritten)


def _parts(rows: pa.Table, file_bytes_max: int) -> Iterator[pa.Table]:
    """Slices whose size in memory is about `file_bytes_max`: encoded they are smaller."""
    each = max(1, rows.num_rows * file_bytes_max // max(1, rows.nbytes))
    for start in range(0, rows.num_rows, each):
        yield rows.slice(start, each)


def _put(job: PersistJob, part: int, rows: pa.Table, store: ObjectStore) -> StoredFile:
    data = _encode(job, rows)
    path = _path(job, part)
    checksum = xxhash.xxh3_64_intdigest(data)
    try:
        store.put_if_absent(path, data)
    except AlreadyExists:
        # This job's earlier try, its answer lost: no other process uses the name, which carries the epoch.
        if xxhash.xxh3_64_intdigest(store.get(path)) != checksum:
            raise DataCorrupt(
                f"{path} exists already with other content; keep both copies, find out who wrote it", path=path
            ) from None
    times = times_ns(rows)
    return StoredFile(
        path=path,
        partition=job.key,
        rows=rows.num_rows,
        size_bytes=len(data),
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        first_offset=job.first_offset,
        last_offset=job.last_offset,
        checksum=checksum,
        sort_key=job.sort_key,
    )


def _path(job: PersistJob, part: int) -> str:
    return data_file(job.key.folder, job.sequencer, job.epoch, job.first_offset, job.last_offset, job.number, part)


def _encode(job: PersistJob, rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    metadata = {
        "penstock.writer": WRITER,
        "penstock.namespace": job.key.namespace,
        "penstock.table": job.key.table,
        "penstock.sequencer": str(job.sequencer),
        "penstock.offsets": f"{job.first_offset}-{job.last_offset}",
        "penstock.sort_key": json.dumps([*job.sort_key, TIME]),
    }
    pq.write_table(
        rows.replace_schema_metadata(metadata),
        sink,
        row_group_size=ROW_GROUP_ROWS,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=[name for name in rows.column_names if name != TIME],
        column_encoding={TIME: "DELTA_BINARY_PACKED"},
        dictionary_pagesize_limit=DICTIONARY_PAGE_BYTES,
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data
