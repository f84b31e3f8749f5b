"""The content of a data file against its record in the manifest: every flipped bit, and every rule, is found."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.values.ids import Offset
from common.values.schema import DAY_NS, ColumnType
from penstock.fsck.check import wrong_file
from penstock.fsck.content import wrong_content
from penstock.fsck.finding import Finding
from tests.support.dict_store import DictStore
from tests.support.fsck import a_file_of, a_persisted_rig, flipped, flipped_in_page, pages
from tests.support.ingester_rig import SEQUENCER
from tests.support.records import DAY0_NS, Row, batch, columns, row

ROWS = [row(DAY0_NS, v=4.0), row(DAY0_NS + 9, "a", v=3.0), row(DAY0_NS + 1, "b", v=2.0), row(DAY0_NS + 2, "b", v=1.0)]


def a_file() -> tuple[StoredFile, bytes]:
    """A file as an ingester wrote it, and its bytes."""
    rig = a_persisted_rig()
    file = a_file_of(rig)
    return file, rig.store.objects[file.path]


def written(rows: list[Row], row_group_rows: int = 2) -> tuple[StoredFile, bytes]:
    """A file with these rows in this order, whatever the rules say, and a record that fits the rules."""
    file, data = a_file()
    sink = io.BytesIO()
    kept = {key: value for key, value in pq.read_metadata(io.BytesIO(data)).metadata.items() if key != b"ARROW:schema"}
    table = pa.Table.from_batches([batch(rows)]).replace_schema_metadata(kept)
    pq.write_table(table, sink, row_group_size=row_group_rows, write_page_checksum=True)
    times = [each.time_ns for each in rows]
    data = sink.getvalue()
    fitting = replace(
        file,
        rows=len(rows),
        size_bytes=len(data),
        checksum=xxhash.xxh3_64_intdigest(data),
        time_ns_min=min(times),
        time_ns_max=max(times),
    )
    return fitting, data


def wrong(file: StoredFile, data: bytes, deep: bool = True, known: object = None) -> list[str]:
    found = wrong_content(file, SEQUENCER, data, known or {}, deep)  # type: ignore[arg-type]
    return [each.what for each in found]


def test_every_flipped_bit_is_found_and_none_of_another_column_is_blamed() -> None:
    """Whatever byte of a file is changed: the file is named, and of its columns the one whose values it is among."""
    file, good = a_file()
    names = pq.read_schema(io.BytesIO(good)).names
    columns_at = {position: name for at, name in enumerate(names) for position in pages(good, at)}
    ends = {pages(good, at)[-1] for at in range(len(names))}
    store, state = DictStore(), ManifestState(SEQUENCER)
    located = 0
    for position in range(len(good)):
        store.objects[file.path] = flipped(good, position)
        (found,) = wrong_file(file, state, store, deep=False)
        assert (found.kind.value, found.path) == ("changed", file.path)
        if position in columns_at:
            assert {place.column for place in found.places} <= {columns_at[position]}
            assert found.places or position not in ends
            located += bool(found.places)
    assert located > len(columns_at) / 2  # the others are in the headers of pages, which say nothing about values


def test_a_damaged_file_is_read_by_no_other_thread(tmp_path: Path) -> None:
    """After an error Arrow's threads would still hold its bytes, and abort the process if it ends just then."""
    _, good = a_file()
    (tmp_path / "damaged").write_bytes(flipped_in_page(good))
    code = (
        "import pathlib, psutil, sys; from penstock.fsck.content import damaged_places;"
        "threads = psutil.Process().num_threads();"
        "assert damaged_places(pathlib.Path(sys.argv[1]).read_bytes()).places;"
        "print(psutil.Process().num_threads() - threads)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "damaged")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "0\n"


def test_a_fitting_file_has_nothing_wrong() -> None:
    """Also of several row groups, with absent tags."""
    assert wrong(*written(ROWS)) == []
    assert wrong(*written(ROWS, row_group_rows=1)) == []
    assert wrong(*a_file()) == []


@pytest.mark.parametrize("row_group_rows", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 3, 2], "row 3 is not sorted after the one before it (by host, time)"),
        ([1, 0, 2, 3], "row 1 is not sorted after the one before it (by host, time)"),
        ([0, 2, 1, 3], "row 2 is not sorted after the one before it (by host, time)"),
        ([0, 1, 2, 2, 3], "row 3 has the same key as the one before it (host, time)"),
        ([0, 0, 1, 2, 3], "row 1 has the same key as the one before it (host, time)"),
    ],
)
def test_rows_out_of_order_and_repeated_keys_are_found(order: list[int], expected: str, row_group_rows: int) -> None:
    """Within a row group and from one to the next; only pages say so."""
    file, data = written([ROWS[at] for at in order], row_group_rows)
    assert wrong(file, data, deep=True) == [expected]
    assert wrong(file, data, deep=False) == []


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"rows": 5}, r"its footer says \d+ rows, and the manifest 5"),
        ({"time_ns_min": DAY0_NS - 1}, r"its footer's statistics say times \d+ to \d+, and the manifest"),
        ({"time_ns_max": DAY0_NS}, r"its rows say times \d+ to \d+, and the manifest"),
        ({"partition": PartitionKey("metrics", "cpu", DAY0_NS // DAY_NS + 1)}, r"which are not all of 2023-11-16"),
        ({"partition": PartitionKey("metrics", "cpu", DAY0_NS // DAY_NS + 1)}, r"which is another folder"),
        ({"partition": PartitionKey("metrics", "mem", DAY0_NS // DAY_NS)}, r"its metadata says table 'cpu', and the"),
        ({"first_offset": Offset(1)}, r"its name does not say sequencer 3 and offsets 1 to"),
        ({"last_offset": Offset(77)}, r"its metadata says offsets '0-\d+', and the manifest '0-77'"),
        ({"first_offset": Offset(78), "last_offset": Offset(77)}, r"its first offset 78 is above its last, 77"),
        ({"sort_key": ()}, r"its tags are \['host'\], and its sort key in the manifest is \[\]"),
        ({"sort_key": ("host", "zone")}, r"its metadata says sort_key '.*', and the manifest '.*zone"),
    ],
)
def test_what_the_manifest_says_otherwise_is_found(changes: dict[str, object], pattern: str) -> None:
    """Rows, times, day, folder, names, offsets and sort key."""
    file, data = a_file()
    found = wrong(replace(file, **changes), data)  # type: ignore[arg-type]
    assert any(re.search(pattern, what) for what in found), found


def test_a_column_of_another_type_is_found() -> None:
    """Types are those that the manifest has for the table; a column that it does not know yet is fine."""
    file, data = a_file()
    assert wrong(file, data, known={"v": ColumnType.FLOAT}) == []
    assert wrong(file, data, known={"v": ColumnType.STRING}) == ["column 'v' is float, and string in the manifest"]


def test_a_file_that_is_no_parquet_is_found() -> None:
    """Although its bytes are those that were written."""
    file, _ = a_file()
    (what,) = wrong(file, b"PAR1 this is none PAR1")
    assert what.startswith("its Parquet footer cannot be read (")


def test_a_page_that_cannot_be_read_is_found_by_deep_alone() -> None:
    """Its bytes are as written, so that only its own checksum tells."""
    file, good = a_file()
    data = flipped_in_page(good)
    found: list[Finding] = []
    store = DictStore()
    store.put(file.path, data)
    as_written = replace(file, checksum=xxhash.xxh3_64_intdigest(data))
    for deep in (False, True):
        found += wrong_file(as_written, ManifestState(SEQUENCER), store, deep=deep)
    assert [(each.kind.value, str(each.places[0])) for each in found] == [("content", "row group 0, column 'time'")]


def test_a_row_is_named_that_is_of_another_day() -> None:
    """Both by statistics and by the rows themselves."""
    file, data = written([*ROWS, row(DAY0_NS + DAY_NS, "c", v=1.0)])
    found = wrong(file, data)
    assert [what.partition(" say ")[0] for what in found] == ["its footer's statistics", "its rows"]
    assert all("not all of 2023-11-15" in what for what in found)
    assert columns(ROWS) == {"host": ColumnType.TAG, "v": ColumnType.FLOAT}
