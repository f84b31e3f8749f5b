"""Rows of one partition as a Parquet file in the store: its name, its settings, and what the manifest says of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from common.catalog.manifest.change import StoredFile
from common.catalog.partition_key import PartitionKey
from common.catalog.paths import data_file
from common.store.objects import AlreadyExists, ObjectStore
from common.values.errors import DataCorrupt
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import TIME, times_ns

WRITER = f"penstock {version('penstock')}"
ROW_GROUP_ROWS = 1024 * 1024
DICTIONARY_PAGE_BYTES = 128 * 1024
ZSTD_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a file come from. number: of the job that makes it, unique in the epoch of its sequencer."""

    key: PartitionKey
    sequencer: SequencerId
    epoch: Epoch
    first_offset: Offset
    last_offset: Offset
    number: int

    def path(self, part: int) -> str:
        return data_file(
            self.key.folder, self.sequencer, self.epoch, self.first_offset, self.last_offset, self.number, part
        )


def slices(rows: pa.Table, file_bytes_max: int) -> Iterator[pa.Table]:
    """Parts whose size in memory is about `file_bytes_max`: encoded they are smaller."""
    each = max(1, rows.num_rows * file_bytes_max // max(1, rows.nbytes))
    for start in range(0, rows.num_rows, each):
        yield rows.slice(start, each)


def put_file(origin: Origin, part: int, rows: pa.Table, sort_key: tuple[str, ...], store: ObjectStore) -> StoredFile:
    """Durable at return. rows: sorted by `sort_key`, then time. Raises Unavailable: call again with the same."""
    data = _encode(origin, rows, sort_key)
    path = origin.path(part)
    checksum = xxhash.xxh3_64_intdigest(data)
    try:
        store.put_if_absent(path, data)
    except AlreadyExists:
        # An earlier try, its answer lost: no other process uses the name, which carries the epoch and the number.
        if xxhash.xxh3_64_intdigest(store.get(path)) != checksum:
            raise DataCorrupt(
                f"{path} exists already with other content; keep both copies, find out who wrote it", path=path
            ) from None
    times = times_ns(rows)
    return StoredFile(
        path=path,
        partition=origin.key,
        rows=rows.num_rows,
        size_bytes=len(data),
        time_ns_min=int(times.min()),
        time_ns_max=int(times.max()),
        first_offset=origin.first_offset,
        last_offset=origin.last_offset,
        checksum=checksum,
        sort_key=sort_key,
    )


def _encode(origin: Origin, rows: pa.Table, sort_key: tuple[str, ...]) -> bytes:
    sink = pa.BufferOutputStream()
    metadata = {
        "penstock.writer": WRITER,
        "penstock.namespace": origin.key.namespace,
        "penstock.table": origin.key.table,
        "penstock.sequencer": str(origin.sequencer),
        "penstock.offsets": f"{origin.first_offset}-{origin.last_offset}",
        "penstock.sort_key": json.dumps([*sort_key, TIME]),
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
