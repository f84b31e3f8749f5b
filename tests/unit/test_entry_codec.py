"""The entry codec: what is encoded is decoded, what is not an entry is DataCorrupt, and the format stays the format."""

import struct
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common import entry
from common.entry import Entry, ipc_tables
from common.values import schema
from common.values.errors import DataCorrupt, InvalidRequest
from common.values.schema import ColumnType
from tests.support.campaign import campaign, seeds
from tests.support.entry_bytes import Envelope, Table, ipc_stream

GOLDEN = Path(__file__).parent.parent / "golden" / "entry_v1.bin"
HEADER_BYTES = 30

COLUMNS = {
    "host": ColumnType.TAG,
    "up": ColumnType.BOOLEAN,
    "jiffies": ColumnType.INTEGER,
    "note": ColumnType.STRING,
    "bytes": ColumnType.UNSIGNED,
    "load": ColumnType.FLOAT,
}


def cpu_batch() -> pa.RecordBatch:
    """Three rows with every column type and a null in each of them."""
    wanted = schema.arrow_schema(COLUMNS)
    values = {
        "time": pa.array([1_700_000_000_000_000_003, 1_700_000_000_000_000_001, -5], schema.TIME_TYPE),
        "host": pa.array(["a", "b", None]).dictionary_encode(),
        "up": pa.array([True, None, False]),
        "jiffies": pa.array([-(2**63), None, 2**63 - 1]),
        "note": pa.array(["", "naïve ☃", None]),
        "bytes": pa.array([0, None, 2**64 - 1], pa.uint64()),
        "load": pa.array([0.5, None, float("-inf")]),
    }
    return pa.record_batch([values[field.name] for field in wanted], schema=wanted)


def disk_batch() -> pa.RecordBatch:
    wanted = schema.arrow_schema({"free": ColumnType.INTEGER})
    return pa.record_batch([pa.array([7], schema.TIME_TYPE), pa.array([123])], schema=wanted)


def sample() -> Entry:
    return Entry("metrics/ä", {"cpu": cpu_batch(), "disk, sda": disk_batch()})


def table_for(batch: pa.RecordBatch, name: bytes = b"cpu", **changes: int) -> Table:
    times = batch.column("time").view(pa.int64()).to_pylist()
    mark = schema.fingerprint(schema.columns_of(batch.schema))
    table = Table(name, batch.num_rows, min(times), max(times), mark, 0, len(ipc_stream(batch)))
    return replace(table, **changes)


def envelope(**changes: object) -> Envelope:
    """A true envelope of cpu_batch, but for `changes`."""
    batch = cpu_batch()
    return replace(Envelope(b"metrics", [table_for(batch)], ipc_stream(batch)), **changes)  # type: ignore[arg-type]


def envelope_of(body: bytes, **changes: int) -> Envelope:
    """A true envelope around another body than its table says."""
    return envelope(raw=body, tables=[table_for(cpu_batch(), length=len(body), **changes)])


def test_an_entry_is_decoded_as_it_was_encoded() -> None:
    """decode is the inverse of encode, for every column type, nulls and extreme values."""
    decoded = entry.decode(entry.encode(sample()))
    assert decoded == sample()
    for batch in decoded.tables.values():
        batch.validate(full=True)


def test_the_header_gives_rows_and_times_without_the_body() -> None:
    """A reader that skips learns namespace, tables, rows and time ranges from the header alone."""
    payload = entry.encode(sample())
    header = entry.decode_header(payload)
    assert (header.namespace, header.rows) == ("metrics/ä", 4)
    cpu, disk = header.tables
    assert (cpu.table, cpu.rows, cpu.time_ns_min, cpu.time_ns_max) == ("cpu", 3, -5, 1_700_000_000_000_000_003)
    assert (disk.table, disk.rows, disk.time_ns_min, disk.time_ns_max) == ("disk, sda", 1, 7, 7)
    assert header.body_start + header.body_length == len(payload)
    untouched = payload[: header.body_start] + bytes(header.body_length)
    assert entry.decode_header(untouched) == header


@pytest.mark.parametrize("codec", [0, 1])
def test_an_envelope_written_by_the_document_is_read(codec: int) -> None:
    """Bytes made from docs/formats/entry.md by hand, compressed or not, are an entry."""
    assert entry.decode(envelope(codec=codec).to_bytes()) == Entry("metrics", {"cpu": cpu_batch()})


def test_golden_bytes_still_decode() -> None:
    """Version 1 as the first release wrote it is read for ever."""
    assert entry.decode(GOLDEN.read_bytes()) == sample()


def test_golden_bytes_are_laid_out_as_documented() -> None:
    """A change of the format is noticed: offsets and widths are those of docs/formats/entry.md."""
    golden = GOLDEN.read_bytes()
    header = entry.decode_header(golden)
    fixed = struct.unpack("<4sBBHIIQIH", golden[:HEADER_BYTES])
    assert fixed[:4] == (b"PSNT", 1, 1, 2)
    assert fixed[4:] == (header.raw_length, header.body_length, header.body_sum, header.body_start, 10)
    tables = [
        Table(t.table.encode(), t.rows, t.time_ns_min, t.time_ns_max, t.fingerprint, t.start, t.length).to_bytes()
        for t in header.tables
    ]
    assert golden[HEADER_BYTES : header.body_start - 8] == "metrics/ä".encode() + b"".join(tables)


def test_encoding_today_says_in_its_header_what_the_golden_bytes_say() -> None:
    """Everything in a header but sizes and sum of the body (the libraries' business) is fixed by the format."""
    now, golden = entry.decode_header(entry.encode(sample())), entry.decode_header(GOLDEN.read_bytes())
    assert (now.namespace, now.codec, now.body_start) == (golden.namespace, golden.codec, golden.body_start)
    facts = [[(t.table, t.rows, t.time_ns_min, t.time_ns_max, t.fingerprint) for t in h.tables] for h in (now, golden)]
    assert facts[0] == facts[1]


def test_what_does_not_compress_is_stored_as_it_is() -> None:
    """The codec byte says none where zstd would only make the body longer."""
    assert entry.decode_header(entry.encode(Entry("n", {}))).codec == 0


@pytest.mark.parametrize(
    "refused",
    [
        Entry("n", {"t": cpu_batch().slice(0, 0)}),
        Entry("n", {"t" * 65_536: disk_batch()}),
        Entry("n" * 65_536, {"t": disk_batch()}),
    ],
    ids=["no rows", "table name too long", "namespace too long"],
)
def test_what_the_format_cannot_hold_is_refused(refused: Entry) -> None:
    """encode raises InvalidRequest, and never writes what decode would refuse."""
    with pytest.raises(InvalidRequest):
        entry.encode(refused)


def test_a_body_that_decode_would_not_believe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """encode keeps to the cap that decode puts on the raw length."""
    monkeypatch.setattr(ipc_tables, "RAW_BYTES_MAX", 500)
    with pytest.raises(InvalidRequest, match="raw bytes is over 500"):
        entry.encode(sample())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (envelope(magic=b"PSNX"), "magic is b'PSNX'"),
        (envelope(version=3), "version 3 is unknown"),
        (envelope(codec=9, raw_length=0), "codec 9 is unknown"),
        (envelope(raw_length=entry.RAW_BYTES_MAX + 1), "raw bytes; at most"),
        (envelope(raw_length=0xFFFFFFFF), "declares 4294967295 raw bytes"),
        (envelope(stored_length=5), r"declares \d+ \+ 5 bytes and has"),
        (envelope(header_length=10), "declares 10"),
        (envelope(header_sum=1), "header does not match its checksum"),
        (envelope(body_sum=1), "body does not match its checksum"),
        (envelope(table_count=2), "entry header: "),
        (envelope(table_count=0), "bytes too many"),
        (envelope(namespace_length=9000), "entry header: "),
        (envelope(namespace=b"\xff"), "entry header: .*utf-8"),
        (envelope(header_excess=b"x"), "1 bytes too many"),
        (envelope(tables=[table_for(cpu_batch()), table_for(cpu_batch())]), "occurs twice"),
        (envelope(tables=[table_for(cpu_batch(), start=1)]), "ends at"),
        (envelope(tables=[table_for(cpu_batch(), rows=4)]), "has 3 rows, its header says 4"),
        (envelope(tables=[table_for(cpu_batch(), fingerprint=1)]), "other columns than its fingerprint"),
        (envelope(tables=[table_for(cpu_batch(), time_ns_min=-6)]), "times outside its header's range"),
        (envelope(tables=[table_for(cpu_batch(), time_ns_max=2)]), "times outside its header's range"),
        (envelope(tables=[table_for(cpu_batch(), length=40)]), "entry body: "),
        (envelope(raw_length=1 << 20), r"entry body has \d+ raw bytes, not 1048576"),
        (envelope(codec=1, raw_length=1 << 20), "entry body"),
        (envelope_of(ipc_stream(cpu_batch(), cpu_batch())), "has 2 batches, not 1"),
        (envelope_of(ipc_stream(cpu_batch().slice(0, 0)), rows=0), "has 0 rows"),
        (envelope_of(b"not arrow"), "entry body: "),
        (envelope_of(b""), "entry body: |batches"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_corrupt(wrong: Envelope, message: str) -> None:
    """Every rule of the format has its own message, under checksums that are true."""
    with pytest.raises(DataCorrupt, match=message):
        entry.decode(wrong.to_bytes())


def with_times(times: pa.Array) -> Envelope:
    batch = pa.record_batch([times, pa.array([1, 2])], schema=schema.arrow_schema({"v": ColumnType.INTEGER}))
    mark = schema.fingerprint({"v": ColumnType.INTEGER})
    body = ipc_stream(batch)
    return Envelope(b"n", [Table(b"t", 2, 1, 1, mark, 0, len(body))], body)


def test_a_row_without_time_is_corrupt() -> None:
    """`time` is never null, also where the batch's own schema allows it."""
    with pytest.raises(DataCorrupt, match="rows without a time"):
        entry.decode(with_times(pa.array([1, None], schema.TIME_TYPE)).to_bytes())


@pytest.mark.parametrize(
    "fields",
    [
        [pa.field("time", pa.timestamp("us", "UTC"), nullable=False, metadata={"penstock:column": "time"})],
        [pa.field("time", schema.TIME_TYPE, metadata={"penstock:column": "time"})],
        [pa.field("time", schema.TIME_TYPE, nullable=False)],
        [],
        [*schema.arrow_schema({}), *schema.arrow_schema({})],
        [*schema.arrow_schema({}), pa.field("v", pa.int32(), metadata={"penstock:column": "field"})],
        [*schema.arrow_schema({}), pa.field("v", pa.int64())],
        [*schema.arrow_schema({}), pa.field("v", pa.int64(), metadata={"penstock:column": "tag"})],
    ],
    ids=["microseconds", "nullable time", "unmarked time", "no time", "two times", "int32", "unmarked", "wrong mark"],
)
def test_columns_outside_the_rules_are_corrupt(fields: list[pa.Field]) -> None:
    """A body whose columns are not penstock's is refused, though Arrow can read it."""
    wanted = pa.schema(fields)
    batch = pa.RecordBatch.from_arrays([pa.array([0]).cast(field.type) for field in wanted], schema=wanted)
    with pytest.raises(DataCorrupt, match="column"):
        entry.decode(envelope_of(ipc_stream(batch)).to_bytes())


def test_text_that_is_not_utf8_is_corrupt() -> None:
    """Bytes inside a column are looked at, not only the frame around them."""
    body = envelope().raw.replace("naïve".encode(), b"na\xff\xffve")
    with pytest.raises(DataCorrupt, match="entry body"):
        entry.decode(envelope_of(body).to_bytes())


@pytest.mark.parametrize("length", range(HEADER_BYTES + 1))
def test_a_stub_is_corrupt(length: int) -> None:
    """A payload shorter than its header is refused at every length."""
    with pytest.raises(DataCorrupt):
        entry.decode(GOLDEN.read_bytes()[:length])


def decodes_or_is_corrupt(payload: bytes) -> None:
    try:
        decoded = entry.decode(payload)
    except DataCorrupt:
        return
    assert decoded == sample()


@given(data=st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    """Any change of any byte is DataCorrupt: nothing else is raised, and never other rows returned."""
    payload = bytearray(GOLDEN.read_bytes())
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataCorrupt):
        entry.decode(bytes(payload))


@given(st.binary(max_size=200), st.integers(0, 2000))
@example(b"", 0)
def test_a_foreign_tail_is_noticed(tail: bytes, cut: int) -> None:
    """Bytes lost at the end, or others put there, are DataCorrupt or the same entry."""
    golden = GOLDEN.read_bytes()
    decodes_or_is_corrupt(golden[: len(golden) - min(cut, len(golden))] + tail)


def decode_lies(changes: list[tuple[int, int]]) -> None:
    """Change bytes of the body and put true checksums over them: what a bug or an enemy would store."""
    body = bytearray(envelope().raw)
    for at, value in changes:
        body[at % len(body)] = value
    try:
        decoded = entry.decode(envelope_of(bytes(body)).to_bytes())
    except DataCorrupt:
        return
    decoded.tables["cpu"].validate(full=True)


LIES = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=16)


@given(LIES)
def test_a_body_that_lies_under_true_checksums_is_corrupt_or_valid(changes: list[tuple[int, int]]) -> None:
    """Decoding validates fully: DataCorrupt, or batches that pass Arrow's own full validation."""
    decode_lies(changes)


@campaign
@settings(max_examples=20 * seeds())
@given(LIES)
def test_bodies_that_lie_at_length(changes: list[tuple[int, int]]) -> None:
    """The same, as long as the campaign lasts."""
    decode_lies(changes)


def test_a_hostile_raw_length_costs_no_memory() -> None:
    """A length of the header is capped before anything is reserved for it."""
    peak = pa.default_memory_pool().max_memory()
    with pytest.raises(DataCorrupt):
        entry.decode(envelope(codec=1, raw_length=0xFFFFFFFF).to_bytes())
    assert pa.default_memory_pool().max_memory() == peak
