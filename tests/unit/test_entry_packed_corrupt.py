"""Entries of packed rows that lie or are damaged: DataCorrupt, whatever it is, and at no cost."""

import struct
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from common import entry
from common.entry.envelope import unseal
from common.entry.packed_blocks import find_tables
from common.values import schema
from common.values.errors import DataCorrupt
from tests.support.campaign import campaign, seeds
from tests.support.entry_bytes import Envelope, PackedTable, series_bytes, shape_bytes
from tests.support.packed_sample import (
    CPU,
    CPU_PARTS,
    CPU_SHAPE,
    CPU_TABLE,
    DISK_BODY,
    DISK_TABLE,
    GOLDEN,
    decoded,
    lying,
    sample,
)


def test_what_the_lies_are_made_of_is_an_entry() -> None:
    """Compressed or not."""
    for codec in (0, 1):
        assert decoded(replace(lying(), codec=codec).to_bytes()) == {"cpu": CPU}


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
