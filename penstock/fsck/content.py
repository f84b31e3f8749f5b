"""The content of one data file: what its footer says, and with `deep` what its pages hold, against the manifest."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from common.catalog.manifest.change import StoredFile
from common.catalog.paths import data_file_name
from common.values.errors import DataCorrupt
from common.values.ids import SequencerId
from common.values.schema import DAY_NS, TIME, Columns, ColumnType, columns_of
from penstock.fsck.finding import Place
from penstock.fsck.rows import RowCheck

_UNREADABLE = (pa.ArrowException, OSError)


class Wrong(NamedTuple):
    """what: half a sentence about the file. places: the pages that cannot be read."""

    what: str
    places: tuple[Place, ...] = ()


def open_parquet(data: bytes) -> pq.ParquetFile | Wrong:
    """The file's footer; pages are compared with their checksums when they are read."""
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except _UNREADABLE as error:
        return Wrong(f"its Parquet footer cannot be read ({_line(error)})")


def wrong_content(file: StoredFile, sequencer: SequencerId, data: bytes, known: Columns, deep: bool) -> Iterator[Wrong]:
    """All that does not fit in a file whose bytes are those that were written. known: columns of its table.

    Without `deep` pages are not read: times are those of the footer's statistics.
    """
    parquet = open_parquet(data)
    if isinstance(parquet, Wrong):
        yield parquet
        return
    yield from _wrong_name(file, sequencer)
    yield from _wrong_footer(file, sequencer, parquet, known)
    if deep:
        yield from _wrong_pages(file, parquet)


def damaged_places(data: bytes) -> Wrong:
    """Which pages of a damaged file cannot be read; none where its footer is damaged, or only what describes pages."""
    parquet = open_parquet(data)
    if isinstance(parquet, Wrong):
        return parquet
    places = []
    for row_group in range(parquet.num_row_groups):
        for column in parquet.schema_arrow.names:
            if isinstance(_column(parquet, row_group, column), Place):
                places.append(Place(row_group, column))
    if places:
        return Wrong("", tuple(places))
    return Wrong("all values can be read: what changed is in the footer, or in a header of a page")


def _wrong_name(file: StoredFile, sequencer: SequencerId) -> Iterator[Wrong]:
    folder = file.path.rpartition("/")[0]
    name = data_file_name(file.path)
    if folder != file.partition.folder:
        yield Wrong(f"the manifest has it in partition {'/'.join(file.partition.to_json())}, which is another folder")
    if name is None or (name.sequencer, *name[2:]) != (sequencer, file.first_offset, file.last_offset):
        offsets = f"offsets {file.first_offset} to {file.last_offset}"
        yield Wrong(f"its name does not say sequencer {sequencer} and {offsets}, as the manifest does")
    if file.first_offset > file.last_offset:
        yield Wrong(f"its first offset {file.first_offset} is above its last, {file.last_offset}")


def _wrong_footer(file: StoredFile, sequencer: SequencerId, parquet: pq.ParquetFile, known: Columns) -> Iterator[Wrong]:
    rows = parquet.metadata.num_rows
    if rows != file.rows:
        yield Wrong(f"its footer says {rows} rows, and the manifest {file.rows}")
    yield from _wrong_columns(file, parquet, known)
    yield from _wrong_metadata(file, sequencer, parquet.metadata.metadata or {})
    if times := _times_of_statistics(parquet):
        yield from wrong_times(file, *times, "its footer's statistics")


def _wrong_columns(file: StoredFile, parquet: pq.ParquetFile, known: Columns) -> Iterator[Wrong]:
    try:
        columns = columns_of(parquet.schema_arrow)
    except DataCorrupt as error:
        yield Wrong(error.message)
        return
    for name, column in columns.items():
        if known.get(name, column) is not column:
            yield Wrong(f"column {name!r} is {column.value}, and {known[name].value} in the manifest")
    tags = {name for name, column in columns.items() if column is ColumnType.TAG}
    if tags != set(file.sort_key):
        yield Wrong(f"its tags are {sorted(tags)}, and its sort key in the manifest is {list(file.sort_key)}")


def _wrong_metadata(file: StoredFile, sequencer: SequencerId, metadata: dict[bytes, bytes]) -> Iterator[Wrong]:
    expected = {
        "namespace": file.partition.namespace,
        "table": file.partition.table,
        "sequencer": str(sequencer),
        "offsets": f"{file.first_offset}-{file.last_offset}",
        "sort_key": json.dumps([*file.sort_key, TIME]),
    }
    for name, value in expected.items():
        found = metadata.get(f"penstock.{name}".encode(), b"").decode(errors="replace")
        of_first_files = name == "sort_key" and not found.startswith(
            "["
        )  # tags joined by commas, docs/formats/files.md
        if found != value and not of_first_files:
            yield Wrong(f"its metadata says {name} {found!r}, and the manifest {value!r}")


def _times_of_statistics(parquet: pq.ParquetFile) -> tuple[int, int] | None:
    """The least and greatest time by the footer; None where it does not say."""
    at = parquet.schema.names.index(TIME) if TIME in parquet.schema.names else None
    if at is None or not parquet.num_row_groups:
        return None
    groups = [parquet.metadata.row_group(group).column(at).statistics for group in range(parquet.num_row_groups)]
    if not all(found is not None and found.has_min_max for found in groups):
        return None
    return min(int(found.min_raw) for found in groups), max(int(found.max_raw) for found in groups)


def wrong_times(file: StoredFile, least: int, greatest: int, where: str) -> Iterator[Wrong]:
    """least, greatest: the times found, ns. where: who says so."""
    if (least, greatest) != (file.time_ns_min, file.time_ns_max):
        yield Wrong(
            f"{where} say times {least} to {greatest}, and the manifest {file.time_ns_min} to {file.time_ns_max} (ns)"
        )
    if {least // DAY_NS, greatest // DAY_NS} != {file.partition.day}:
        yield Wrong(f"{where} say times {least} to {greatest} (ns), which are not all of {file.partition.day_name}")


def _wrong_pages(file: StoredFile, parquet: pq.ParquetFile) -> Iterator[Wrong]:
    """Reads every page, a column of a row group at a time."""
    names = parquet.schema_arrow.names
    keys = [name for name in names if name == TIME or name in file.sort_key]
    check = RowCheck(file.sort_key) if {TIME, *file.sort_key} <= set(keys) else None
    places: list[Place] = []
    for row_group in range(parquet.num_row_groups):
        held = {}
        for name in names:
            found = _column(parquet, row_group, name)
            if isinstance(found, Place):
                places.append(found)
            elif name in keys:
                held[name] = found
        if check and len(held) == len(keys):
            check.add(pa.table(held))
        else:
            check = None
    if places:
        yield Wrong("pages of it cannot be read, although its bytes are as written", tuple(places))
    if check:
        yield from map(Wrong, check.wrong())
        if check.rows != file.rows:
            yield Wrong(f"its pages have {check.rows} rows, and the manifest says {file.rows}")
        if check.rows:
            yield from wrong_times(file, check.time_ns_min, check.time_ns_max, "its rows")


def _column(parquet: pq.ParquetFile, row_group: int, name: str) -> pa.ChunkedArray | Place:
    # Without threads: after an error Arrow's other threads still hold the file's bytes, and where the process ends
    # meanwhile, they abort it (SIGABRT, "terminate called without an active exception").
    try:
        return parquet.read_row_group(row_group, columns=[name], use_threads=False).column(name)
    except (*_UNREADABLE, KeyError):
        return Place(row_group, name)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
