"""Persisted files as a query meets them: which belong to a table, their rows, and what is wrong with a damaged one.

The only place of queries that looks into a manifest's files.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.store.objects import NotFound, ObjectStore
from common.values.errors import DataCorrupt
from common.values.schema import TableId

THREADS_BYTES = 1 << 20
"""Below, handing columns to other threads takes longer than reading them."""


def stored_tables(state: ManifestState, namespace: str) -> set[str]:
    """The tables of `namespace` that have files."""
    return {table.table for table in state.files.tables if table.namespace == namespace}


def files_by_day(state: ManifestState, table: TableId) -> dict[int, list[StoredFile]]:
    """The table's files of each UTC day since 1970, in the order of their commits."""
    return state.files.of_table(table)


def read_stored(file: StoredFile, store: ObjectStore) -> pa.Table:
    """A file's rows. Raises DataCorrupt naming it where it is missing or damaged, Unavailable."""
    data = checked(file, store)
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=len(data) > THREADS_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, f"it is no Parquet file ({error})") from None


def checked(file: StoredFile, store: ObjectStore) -> bytes:
    """A file's bytes as they were written. Raises DataCorrupt naming it and what differs, Unavailable."""
    try:
        data = store.get(file.path)
    except NotFound:
        raise _damaged(file, "it is missing") from None
    if len(data) != file.size_bytes:
        raise _damaged(file, f"it has {len(data)} bytes, and {file.size_bytes} were written")
    found = xxhash.xxh3_64_intdigest(data)
    if found != file.checksum:
        raise _damaged(
            file, f"the checksum of its bytes is {found:016x}, and {file.checksum:016x} was written (xxh3-64)"
        )
    return data


def check_all(files: Iterable[StoredFile], store: ObjectStore) -> None:
    """Raises DataCorrupt naming the first file that is missing, cut or changed, Unavailable."""
    for file in files:
        checked(file, store)


def _damaged(file: StoredFile, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"{file.path}: {why}. The manifest names this file with {file.rows} rows: restore it from a copy of the store",
        path=file.path,
    )
