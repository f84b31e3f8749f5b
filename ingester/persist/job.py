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

from common.errors import DataCorrupt
from common.ids import Epoch, Offset, SequencerId
from common.objectstore import AlreadyExists, ObjectStore
from common.schema import TIME, Columns, ColumnType, arrow_schema, times_ns
from ingester.buffer.partition import PartitionView
from ingester.partition_key import PartitionKey
from ingester.persist.manifest_state import StoredFile
from ingester.persist.merge import merge

WRITER = f"penstock {version('penstock')}"
ROW_GROUP_ROWS = 1024 * 1024
DICTIONARY_PAGE_BYTES = 128 * 1024
ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class PersistJob:
    """view: the rows. last_offset: one below the applied offset at the cut, the frontier's new corner."""

    number: int
    sequencer: SequencerId
    epoch: Epoch
    view: PartitionView
    last_offset: Offset
    sort_key: tuple[str, ...]
    file_bytes_max: int

    @property
    def key(self) -> PartitionKey:
        return self.view.key

    @property
    def first_offset(self) -> Offset:
        return self.view.chunks[0].first_offset


@dataclass(frozen=True, slots=True)
class PersistResult:
    """The files, durable but not named yet, and the rows that newer ones of the same key overwrote."""

    files: tuple[StoredFile, ...]
    overwritten: int


def view_batches(view: PartitionView) -> list[pa.RecordBatch]:
    """The rows of a view in penstock's schema, one batch a chunk, oldest first; each has the columns of its chunk."""
    arrays = {tag: dictionary.array() for tag, dictionary in view.dictionaries.items()}
    return [_decoded(chunk.batch, chunk.columns, arrays) for chunk in view.chunks]


def _decoded(batch: pa.RecordBatch, columns: Columns, dictionaries: dict[str, pa.StringArray]) -> pa.RecordBatch:
    schema = arrow_schema(columns)
    arrays = [
        pa.DictionaryArray.from_arrays(batch.column(field.name), dictionaries[field.name])
        if field.name != TIME and columns[field.name] is ColumnType.TAG
        else batch.column(field.name)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


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
            raise DataCorrupt(f"{path} stands already with other content", path=path) from None
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
    offsets = f"{job.first_offset:020}-{job.last_offset:020}"
    return f"{job.key.folder}/{job.sequencer:03}-{job.epoch:08}-{offsets}-{job.number:08}-{part:03}.parquet"


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
