"""Parsed rows in payloads: each fits a record and decodes alone, in bounded memory, and no row or order is lost."""

import base64
import random

import numpy as np
import pytest

from common.catalog.table_schema import COLUMNS_MAX, TableSchema
from common.entry import PackedRows, decode, decode_header, packed_rows
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.lineprotocol.scalar import LINE_BYTES_MAX
from router.parsing.lines import entries, few, matrix
from router.parsing.messages import PAYLOAD_BYTES_MAX
from tests.support.lines.equality import Batch, check
from tests.support.parsed import NOW_NS, body, parse, rows_of
from writebuffer.record import ENTRY_CONTENT_TYPE, RECORD_BYTES_MAX, Record, RecordHeaders

FLOAT, INTEGER, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.TAG


def test_a_body_of_under_a_megabyte_is_one_payload_a_sequencer() -> None:
    """An ordinary body of known columns makes exactly one record for each sequencer touched."""
    known = {"t": TableSchema(1, {"host": TAG, "f": FLOAT, "g": INTEGER})}
    text = "\n".join(f"t,host=h{number % 100} f={number}.5,g={number}i {number}" for number in range(25_000))
    assert 700_000 < len(text) < 1_000_000
    assert {len(payloads) for payloads in parse(body(text), schemas=known).payloads.values()} == {1}


def incompressible(count: int, seed: int = 1) -> str:
    return base64.b64encode(random.Random(seed).randbytes(count)).decode()


def test_what_exceeds_a_record_is_split_by_rows_into_payloads_that_decode_alone() -> None:
    """Every payload fits a record with the largest headers, decodes alone, and together they hold all rows in order."""
    text = "\n".join(
        f"t{number % 3},id=i{number},junk={incompressible(30_000, number)} f={number}i {number}"
        for number in range(100)
    )
    batch = parse(body(text), sequencers=1)
    payloads = batch.payloads[SequencerId(0)]
    assert len(payloads) > 2
    headers = RecordHeaders(ENTRY_CONTENT_TYPE, "n" * 511, b"p" * 16, 2**63, NOW_NS, "0" * 55)
    assert all(len(Record.of(headers, payload)) <= RECORD_BYTES_MAX for payload in payloads)
    for table, found in rows_of(batch).items():
        numbers = [row["f"] for row in found]
        assert numbers == sorted(number for number in range(100) if f"t{number % 3}" == table)


@pytest.mark.parametrize("columns", [8, COLUMNS_MAX])
def test_the_largest_line_fits_one_record(columns: int) -> None:
    """The largest line, of incompressible strings in few or in as many columns as there may be, is one record."""
    size = min(LINE_BYTES_MAX // columns - 20, 65_000)
    junk = [incompressible(size * 3 // 4, number)[:size] for number in range(columns)]
    line = "t " + ",".join(f'column{number:04}="{junk[number]}"' for number in range(columns))
    assert len(line) <= LINE_BYTES_MAX
    (payload,) = parse(body(line), sequencers=1).payloads[SequencerId(0)]
    assert len(payload) <= PAYLOAD_BYTES_MAX


def test_the_largest_line_of_tags_fits_one_record() -> None:
    """As many tags as a table may have, each with an incompressible value, are one record too."""
    size = LINE_BYTES_MAX // COLUMNS_MAX - 20
    tags = ",".join(f"tag{number:04}={incompressible(size, number)[:size]}".rstrip("=") for number in range(999))
    (payload,) = parse(body(f"t,{tags} f=1"), sequencers=1).payloads[SequencerId(0)]
    assert decode(payload).tables["t"].num_columns == COLUMNS_MAX + 1


def test_sparse_rows_are_encoded_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that each bring another column are cut into several payloads of a bounded number of cells, in order."""
    monkeypatch.setattr(matrix, "CELLS_MAX", 10_000)
    text = "\n".join(f"t f{number % 200}=1i {number}" for number in range(2_000))
    batch = parse(body(text), sequencers=1)
    cells = [
        table.num_rows * table.num_columns
        for payload in batch.payloads[SequencerId(0)]
        for table in decode(payload).tables.values()
    ]
    assert len(cells) > 5
    assert max(cells) < 11_000
    assert [row["time"] for row in rows_of(batch)["t"]] == list(range(2_000))


def test_rows_of_more_tables_than_an_entry_holds_are_split() -> None:
    """A namespace may be allowed so many tables that a megabyte of lines has over 65,535 of them."""
    times_ns, values = np.zeros(1, np.int64), np.zeros((1, 1), np.uint64)
    tables = [
        PackedRows(f"t{number}", (), (("f", FLOAT),), times_ns, values, None, b"", [b""], None)
        for number in range(66_000)
    ]
    payloads = entries.encode_entries("ns", tables)
    assert [table.table for one in payloads for table in decode_header(one).tables] == [one.table for one in tables]


def test_rows_of_tags_with_long_names_each_fit_one_record() -> None:
    """An entry names the tag keys of all its rows: rows of keys that others lack are split before that is too much."""
    lines = b"".join(b"t,key%d%s=v f=1 1\n" % (number, b"x" * 60_000) for number in range(40))
    outcome = check(Batch("ns", 1, [body(lines)]))
    assert outcome.requests[0].accepted == 40


def test_rows_of_many_sets_of_tags_are_split_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tags that a row lacks each takes some bytes too."""
    monkeypatch.setattr(few, "FEW_LINES_MAX", -1)
    monkeypatch.setattr(matrix, "CELLS_MAX", 1_000)
    lines = b"".join(b"t,k%d=v f=%d 1\n" % (number % 100, number) for number in range(200))
    check(Batch("ns", 1, [body(lines)]))
    payloads = parse(body(lines), sequencers=1).payloads[SequencerId(0)]
    assert max(batch.num_rows * batch.num_columns for one in payloads for batch in decode(one).tables.values()) < 2_000


def test_rows_of_many_wide_tables_are_split_until_decoders_believe_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too much for a decoder is cut into entries that are not."""
    monkeypatch.setattr(packed_rows, "DECODED_BYTES_MAX", 10_000)
    fields = ",".join(f"f{number}=1i" for number in range(100))
    batch = parse(body("\n".join(f"t{number} {fields} {number}" for number in range(20))), sequencers=1)
    assert len(batch.payloads[SequencerId(0)]) > 2
    assert {table: len(found) for table, found in rows_of(batch).items()} == {f"t{number}": 1 for number in range(20)}
