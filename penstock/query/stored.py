"""Persisted files as a query meets them: which belong to a table, their rows, and what is wrong with a damaged one.

The only place of queries that looks into a manifest's files.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.written import Damaged, read_written
from common.store.objects import ObjectStore
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
    found = read_written(file, store)
    if isinstance(found, Damaged):
        raise _damaged(file, found.why)
    return found


def check_all(files: Iterable[StoredFile], store: ObjectStore) -> None:
    """Raises DataCorrupt naming the first file that is missing, cut or changed, Unavailable."""
    for file in files:
        checked(file, store)


def _damaged(file: StoredFile, why: str) -> DataCorrupt:
    return DataCorrupt(
        f"{file.path}: {why}. The manifest names this file with {file.rows} rows: `penstock replay` brings them back "
        f"from offset {file.first_offset} of the log, if that still has it; else restore it from a copy of the store",
        path=file.path,
    )
