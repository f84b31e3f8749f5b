"""Version 2 of an entry, packed rows: the same rows as version 1, the format stays the format, lies are DataCorrupt."""

import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import entry
from common.entry import (
    Entry,
    EntryTooLarge,
    PackedRows,
    encode_packed,
    packed_rows,
    shape,
    tag_values,
    with_absent_tags,
)
from common.entry.envelope import unseal
from common.entry.packed_blocks import find_tables
from common.entry.shape import encode_shape
from common.values import schema
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.schema import ColumnType
from tests.support.campaign import campaign, seeds
from tests.support.entry_bytes import Envelope, PackedTable, series_bytes, shape_bytes
from tests.support.packed import packed_payload
from tests.support.packed import packed_rows as packed
from tests.support.records import Row, Unsigned, batch, rows_of

GOLDEN = Path(__file__).parent.parent / "golden" / "entry_v2.bin"

CPU = [
    Row(
        1_700_000_000_000_000_003,
        {"host": "a", "zone": "z"},
        {"bytes": Unsigned(0), "jiffies": -(2**63), "load": 0.5, "more": "", "note": "", "up": True},
    ),
    Row(1_700_000_000_000_000_001, {"host": "b"}, {"note": "naïve ☃", "more": "m"}),
    Row(
        -5,
        {"host": "a", "zone": "z"},
        {"bytes": Unsigned(2**64 - 1), "jiffies": 2**63 - 1, "load": float("-inf"), "up": False},
    ),
]
DISK = [Row(7, {}, {"free": 123})]
SAMPLE = {"cpu": CPU, "disk, sda": DISK}


def decoded(payload: bytes) -> dict[str, list[Row]]:
    found = entry.decode(payload)
    for each in found.tables.values():
        each.validate(full=True)
    return {table: rows_of(each) for table, each in found.tables.items()}


# Written and read

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3).filter(lambda name: name != "time")
VALUES: Mapping[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    int: st.integers(-(2**63), 2**63 - 1),
    Unsigned: st.integers(0, 2**64 - 1).map(Unsigned),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}
TAG_VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[Row]]:
    """Up to three tables; each has a row with every column, so that every column has a type."""
    found = {}
    for table in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        names = draw(st.lists(NAMES, min_size=1, max_size=12, unique=True))
        kinds = {name: draw(st.sampled_from([None, *VALUES])) for name in names}
        strategies = {name: VALUES[kind] if kind else TAG_VALUES for name, kind in kinds.items()}
        rows = []
        for at in range(draw(st.integers(1, 5))):
            here = {name: draw(each) for name, each in strategies.items() if at == 0 or draw(st.booleans())}
            tags = {name: value for name, value in here.items() if kinds[name] is None}
            fields = {name: value for name, value in here.items() if name not in tags}
            rows.append(Row(draw(st.integers(schema.TIME_NS_MIN, schema.TIME_NS_MAX)), tags, fields))
        found[table] = rows
    return found


@given(tables(), NAMES, st.booleans())
@example(SAMPLE, "metrics/ä", False)
def test_both_versions_decode_to_the_same(
    rows: Mapping[str, Sequence[Row]], namespace: str, one_series_each: bool
) -> None:
    """The same rows through `encode` and `encode_packed` are equal entries: values, schema, order of rows."""
    streams = entry.decode(entry.encode(Entry(namespace, {table: batch(each) for table, each in rows.items()})))
    found = entry.decode(packed_payload(namespace, rows, one_series_each=one_series_each))
    assert found == streams
    for table, each in found.tables.items():
        each.validate(full=True)
        assert each.schema.equals(streams.tables[table].schema, check_metadata=True)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 3000])
def test_many_rows_are_compressed_and_read(rows: int) -> None:
    """Any number of rows: least and greatest time, presence and series of all of them."""
    many = [
        Row(n * 7 % 31, {"host": f"h{n % 10}"}, {"a": n, **({"b": "x" * (n % 5)} if n % 3 else {})})
        for n in range(rows)
    ]
    payload = packed_payload("n", {"t": [Row(0, {"host": "h"}, {"a": 1, "b": "b"}), *many]})
    header = entry.decode_header(payload)
    assert header.codec == (header.raw_length >= packed_rows.COMPRESS_BYTES_MIN)
    assert decoded(payload)["t"][1:] == many


def test_shapes_of_many_columns_are_not_remembered() -> None:
    """Each set of columns of a wide table costs a hundred kilobytes; those of usual tables come again and again."""
    narrow, wide = (tuple((f"f{n:04}", ColumnType.FLOAT) for n in range(columns)) for columns in (30, 900))
    for fields in (narrow, wide):
        encode_shape("remembered", (), fields)
    assert ("remembered", (), narrow) in shape._encoded
    assert ("remembered", (), wide) not in shape._encoded


def test_the_header_gives_rows_times_and_columns_without_the_body() -> None:
    """A reader that skips learns the same from both versions."""
    header = entry.decode_header(packed_payload("metrics/ä", SAMPLE))
    streams = entry.decode_header(
        entry.encode(Entry("metrics/ä", {name: batch(rows) for name, rows in SAMPLE.items()}))
    )
    assert (header.version, streams.version, header.namespace, header.rows) == (2, 1, "metrics/ä", 4)
    assert [table[:5] for table in header.tables] == [table[:5] for table in streams.tables]
    cpu, disk = header.tables
    assert (cpu.start, cpu.length, disk.start) == (0, disk.start, header.raw_length - disk.length)


def test_golden_bytes_still_decode() -> None:
    """Version 2 as the first release wrote it is read for ever, and written byte for byte."""
    assert decoded(GOLDEN.read_bytes()) == SAMPLE
    assert packed_payload("metrics/ä", SAMPLE) == GOLDEN.read_bytes()


def test_golden_bytes_are_laid_out_as_documented() -> None:
    """Made by hand from docs/formats/entry.md."""
    assert sample().to_bytes() == GOLDEN.read_bytes()


CPU_SHAPE = shape_bytes(
    b"cpu",
    [b"host", b"zone"],
    [(3, b"bytes"), (2, b"jiffies"), (1, b"load"), (4, b"more"), (4, b"note"), (5, b"up")],
)
INFINITE = struct.unpack("<Q", struct.pack("<d", float("-inf")))[0]
HALF = struct.unpack("<Q", struct.pack("<d", 0.5))[0]
CPU_PARTS = {
    "times": struct.pack("<3q", *(row.time_ns for row in CPU)),
    "values": struct.pack("<6Q", 0, 2**63, HALF, 0, 0, 1)
    + struct.pack("<6Q", 0, 0, 0, 1, 10, 0)
    + struct.pack("<6Q", 2**64 - 1, 2**63 - 1, INFINITE, 0, 0, 0),
    "series_of_row": struct.pack("<3I", 0, 1, 0),
    "lengths": struct.pack("<I", 6),
    "presence": bytes([0b111111, 0b011000, 0b100111]),
    "series": series_bytes(b"a", b"z") + series_bytes(b"b", b""),
    "strings": "mnaïve ☃".encode(),
    "padding": bytes(7),
}
CPU_TABLE = PackedTable(CPU_SHAPE, 3, 2, 11, 11, 3, -5, 1_700_000_000_000_000_003)
DISK_TABLE = PackedTable(shape_bytes(b"disk, sda", [], [(2, b"free")]), 1, 1, 0, 0, 2, 7, 7)
DISK_BODY = struct.pack("<qQII", 7, 123, 0, 0)


def sample() -> Envelope:
    raw = b"".join(CPU_PARTS.values()) + DISK_BODY
    return Envelope("metrics/ä".encode(), [CPU_TABLE, DISK_TABLE], raw, version=2)


def lying(table: Mapping[str, Any] | None = None, **parts: bytes) -> Envelope:
    """True sums around `cpu` alone, but for changes of its header and of parts of its block."""
    return Envelope(b"n", [replace(CPU_TABLE, **(table or {}))], b"".join({**CPU_PARTS, **parts}.values()), version=2)


def test_what_the_lies_are_made_of_is_an_entry() -> None:
    """Compressed or not."""
    for codec in (0, 1):
        assert decoded(replace(lying(), codec=codec).to_bytes()) == {"cpu": CPU}


# What the writer refuses


@pytest.mark.parametrize(
    "changes",
    [
        {"table": "t" * 65_536},
        {"tag_keys": ("zone", "host")},
        {"tag_keys": ("host", "host")},
        {"tag_keys": ("free", "host")},
        {"tag_keys": ("host", "time")},
        {"fields": (("time", ColumnType.INTEGER),)},
        {"fields": (("f" * 65_536, ColumnType.INTEGER),)},
        {"times_ns": np.array([], np.int64)},
    ],
    ids=["table name", "unsorted", "twice", "tag and field", "tag time", "field time", "field name", "no rows"],
)
def test_what_the_format_cannot_hold_is_refused(changes: Mapping[str, Any]) -> None:
    """encode_packed raises InvalidRequest, and never writes what decode would refuse."""
    rows = PackedRows(
        "t",
        ("host", "zone"),
        (("free", ColumnType.INTEGER),),
        np.array([1], np.int64),
        np.array([[1]], np.uint64),
        None,
        b"",
        [tag_values(["a", None])],
        None,
    )
    assert entry.decode(encode_packed("n", [rows])).tables["t"].num_rows == 1
    with pytest.raises(InvalidRequest):
        encode_packed("n", [replace(rows, **changes)])


def test_a_tag_value_or_namespace_that_is_too_long_is_refused() -> None:
    """Lengths are u16."""
    assert len(tag_values(["a" * 65_535])) == 65_537
    with pytest.raises(InvalidRequest, match="tag value of 65536 bytes"):
        tag_values(["a" * 65_536])
    with pytest.raises(InvalidRequest, match="namespace of 65536 bytes"):
        encode_packed("n" * 65_536, [packed("t", DISK)])


def test_more_than_decode_would_believe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cap counts a code for each tag of each row, though the body has one for each series."""
    rows = [Row(n, {f"tag{k:03}": "v" for k in range(100)}, {"a": n}) for n in range(10)]
    payload = packed_payload("n", {"t": rows})
    found = entry.decode(payload)
    assert found.raw_bytes > 10 * 100 * 4
    monkeypatch.setattr(packed_rows, "DECODED_BYTES_MAX", found.raw_bytes)
    assert packed_payload("n", {"t": rows}) == payload
    monkeypatch.setattr(packed_rows, "DECODED_BYTES_MAX", found.raw_bytes - 1)
    with pytest.raises(EntryTooLarge, match="raw bytes is over"):
        packed_payload("n", {"t": rows})


# What the reader refuses


def with_shape(shape: bytes) -> Envelope:
    return lying({"shape": shape})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(lying(), raw_length=(1 << 24) + 1), "packed rows take 16777217 bytes"),
        (lying({"rows": 0}), "has 0 rows"),
        (lying({"rows": 4}), r"tables of \d+ bytes in a body of"),
        (lying({"rows": 2**32 - 1}), r"tables of \d+ bytes in a body of"),
        (lying({"series": 0}), "0 series"),
        (lying({"series": 4}), "4 series"),
        (lying({"flags": 1}), "2 series for 3 rows and does not say whose"),
        (lying({"flags": 7}), "flags 7"),
        (lying({"flags": 2}), r"tables of \d+ bytes in a body of"),
        (lying({"string_bytes": 19}), r"tables of \d+ bytes in a body of"),
        (lying({"series_bytes": 2**32 - 1}), r"tables of \d+ bytes in a body of"),
        (lying({"time_ns_min": -6}), "times are outside"),
        (lying({"time_ns_max": 2}), "times are outside"),
        (lying({"time_ns_min": 9, "time_ns_max": 8}), "times 9 to 8"),
        (replace(lying(), tables=[CPU_TABLE, CPU_TABLE], raw=lying().raw * 2), "occurs twice"),
        (replace(lying(), table_count=2), "28932 columns"),
        (replace(lying(), table_count=0), "bytes too many"),
        (replace(lying(), header_excess=bytes(8)), r"\d+ bytes too many"),
        (replace(lying(), namespace_length=9000), "namespace of 9000 bytes"),
        (replace(lying(), raw=lying().raw + bytes(8)), r"tables of \d+ bytes in a body of"),
        (replace(lying(), raw=lying().raw + b"x", raw_length=len(lying().raw)), "raw bytes, not"),
        (replace(lying(), body_sum=1), "body does not match"),
        (replace(lying(), header_sum=1), "header does not match"),
        (with_shape(b""), "shape of 0 bytes"),
        (with_shape(CPU_SHAPE[:-1]), "does not fit its shape"),
        (with_shape(CPU_SHAPE[:-5]), "unknown type, or fewer"),
        (with_shape(CPU_SHAPE + b"x"), "1 bytes too many"),
        (with_shape(CPU_SHAPE.replace(b"\5\2\0up", b"\6\2\0up")), "unknown type"),
        (with_shape(CPU_SHAPE.replace(b"\5\2\0up", b"\0\2\0up")), "unknown type"),
        (with_shape(CPU_SHAPE.replace(b"zone", b"host")), "two columns of one name"),
        (with_shape(CPU_SHAPE.replace(b"zone", b"more")), "two columns of one name"),
        (with_shape(CPU_SHAPE.replace(b"zone", b"time")), "two columns of one name"),
        (with_shape(CPU_SHAPE.replace(b"zone", b"aone")), "not sorted"),
        (with_shape(CPU_SHAPE.replace(b"note", b"Note")), "not sorted"),
        (with_shape(CPU_SHAPE.replace(b"zone", b"z\xffne")), "utf-8"),
        (with_shape(shape_bytes(b"cpu", [b"k"] * 5000, [(1, b"f")] * 5001)), "10001 columns"),
        (lying(presence=bytes([0b1111111, 0b011000, 0b100111])), "more than 6 fields"),
        (lying(presence=bytes([0b111111, 0b001000, 0b100111])), "absent has a value"),
        (lying(series_of_row=struct.pack("<3I", 0, 2, 0)), "a row has series 2"),
        (lying(series_of_row=struct.pack("<3I", 0, 2**32 - 1, 0)), "a row has series 4294967295"),
        (lying(lengths=struct.pack("<I", 12)), "longer than the 11 bytes"),
        (lying(lengths=struct.pack("<I", 2**32 - 1)), "longer than the 11 bytes"),
        (lying(lengths=struct.pack("<I", 5)), "has tag values of"),
        (lying(series=series_bytes(b"ab", b"z") + series_bytes(b"", b"")), "has tag values of"),
        (lying(series=series_bytes(b"\xff", b"z") + series_bytes(b"b", b"")), "a tag value is no text"),
        (lying(strings=b"mna\xff\xffve xxx"), "a string is no text"),
        (lying(strings="ïaaaaaaaaa".encode()), "a string is no text"),
        (lying(values=CPU_PARTS["values"].replace(struct.pack("<Q", 10), struct.pack("<Q", 9))), "lengths of its str"),
        (lying(values=CPU_PARTS["values"].replace(struct.pack("<Q", 10), struct.pack("<Q", 99))), "longer than all"),
        (
            lying(values=CPU_PARTS["values"].replace(struct.pack("<QQ", 1, 10), struct.pack("<QQ", 12, 2**64 - 1))),
            "longer than all",
        ),
        (lying(values=CPU_PARTS["values"].replace(struct.pack("<QQ", 0, 1), struct.pack("<QQ", 0, 2), 1)), "neither 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_corrupt(wrong: Envelope, message: str) -> None:
    """Every rule of the format has its own message, under checksums that are true."""
    with pytest.raises(DataCorrupt, match=message):
        entry.decode(wrong.to_bytes())


def test_strings_of_a_table_without_such_a_field_are_corrupt() -> None:
    """Bytes that no value names."""
    table = replace(DISK_TABLE, string_bytes=3)
    with pytest.raises(DataCorrupt, match="lengths of its strings"):
        entry.decode(Envelope(b"n", [table], DISK_BODY[:20] + b"abc\0", version=2).to_bytes())


@given(data=st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    """Any change of any byte is DataCorrupt: nothing else is raised, and never other rows returned."""
    payload = bytearray(GOLDEN.read_bytes())
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataCorrupt):
        entry.decode(bytes(payload))


def test_every_changed_bit_is_noticed() -> None:
    """Of the golden bytes, one after another."""
    golden = GOLDEN.read_bytes()
    for bit in range(8 * len(golden)):
        payload = bytearray(golden)
        payload[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataCorrupt):
            entry.decode(bytes(payload))


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_a_stub_is_corrupt(length: int) -> None:
    """A payload that ends early is refused at every length."""
    with pytest.raises(DataCorrupt):
        entry.decode(GOLDEN.read_bytes()[:length])


# Lies under true sums

LIES = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=12)


@dataclass
class Lying(PackedTable):
    """Its header is given."""

    def __init__(self, header: bytes, shape: bytes) -> None:
        self.header = header
        self.shape = shape

    def to_bytes(self) -> bytes:
        return self.header


def decode_lies(changes: Sequence[tuple[int, int]], *, in_header: bool) -> None:
    """Change bytes of the table's header or of the body and put true checksums over them."""
    whole = sample()
    part = bytearray(CPU_TABLE.to_bytes() + CPU_SHAPE if in_header else whole.raw)
    for at, value in changes:
        part[at % len(part)] = value
    lie = replace(whole, raw=bytes(part))
    if in_header:
        lie = replace(whole, tables=[Lying(bytes(part[:40]), bytes(part[40:])), DISK_TABLE])
    payload = lie.to_bytes()
    is_found_at_once = not find_tables([unseal(payload)]).wrong
    try:
        entry.decode_header(payload)
        assert is_found_at_once
    except DataCorrupt:
        assert not is_found_at_once
    try:
        found = entry.decode(payload)
    except DataCorrupt:
        return
    for each in found.tables.values():
        each.validate(full=True)
        schema.columns_of(each.schema)


@given(LIES, st.booleans())
def test_lies_under_true_checksums_are_corrupt_or_valid(changes: list[tuple[int, int]], in_header: bool) -> None:
    """Decoding validates fully: DataCorrupt, or batches that pass Arrow's own full validation."""
    decode_lies(changes, in_header=in_header)


@campaign
@settings(max_examples=20 * seeds())
@given(LIES, st.booleans())
def test_lies_at_length(changes: list[tuple[int, int]], in_header: bool) -> None:
    """The same, as long as the campaign lasts."""
    decode_lies(changes, in_header=in_header)


# What it costs to refuse


def peak_bytes(payload: bytes) -> int:
    before = pa.default_memory_pool().max_memory()
    tracemalloc.start()
    with pytest.raises(DataCorrupt):
        entry.decode(payload)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak + pa.default_memory_pool().max_memory() - before


def test_codes_of_many_tags_are_counted_before_they_are_made() -> None:
    """A body of zeros is a few bytes once compressed: a million rows of one series with 1000 tags would be 4 GB."""
    rows, tags = 100_000, 1000
    shape = shape_bytes(b"t", [b"%04d" % n for n in range(tags)], [])
    table = PackedTable(shape, rows, 1, 2 * tags, 0, 2, 0, 0)
    raw = bytes(12 * rows + 2 * tags)
    payload = Envelope(b"n", [table], raw, version=2, codec=1).to_bytes()
    assert len(payload) < 10_000
    with pytest.raises(DataCorrupt, match="packed rows take"):
        entry.decode(payload)
    assert peak_bytes(payload) < 4 * len(raw)


def test_a_raw_length_that_is_too_long_costs_nothing() -> None:
    """It is refused before anything is decompressed."""
    assert peak_bytes(replace(lying(), codec=1, raw_length=1 << 25).to_bytes()) < 100_000


def test_a_frame_larger_than_the_header_declares_is_refused() -> None:
    """zstd's own length is not believed."""
    stored = pa.Codec("zstd").compress(bytes(100_000_000), asbytes=True)
    payload = replace(lying(), raw=stored, raw_length=len(lying().raw)).to_bytes()
    start = struct.unpack_from("<I", payload, 24)[0]
    header = payload[:5] + b"\1" + payload[6 : start - 8]
    assert peak_bytes(header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header)) + payload[start:]) < 100_000


@given(st.lists(st.none() | TAG_VALUES))
def test_values_are_widened_to_more_tag_keys(values: list[str | None]) -> None:
    """With absent ones in between they are what the values of all the keys are."""
    there = [place for place, value in enumerate(values) if value is not None]
    absent = [after - before - 1 for before, after in zip([-1, *there], [*there, len(values)], strict=True)]
    packed_there = tag_values([values[place] for place in there])
    assert with_absent_tags(packed_there, absent) == tag_values(values)
