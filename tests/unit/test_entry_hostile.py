"""Payloads made to cost memory: each is DataCorrupt, and reading it allocates no more than its header declares."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from common import entry
from common.ipc.schema import COLUMNS_MAX
from common.values import schema
from common.values.errors import DataCorrupt
from common.values.schema import ColumnType
from tests.support.campaign import campaign, seeds
from tests.support.entry_bytes import Envelope, Table, ipc_stream
from tests.support.ipc_messages import (
    BATCH,
    DICTIONARY,
    SCHEMA,
    kinds,
    mark_big_endian,
    messages,
    patched,
    share_first_buffer,
    share_first_name,
    stream_of,
)

SLACK_BYTES = 1 << 20
"""In addition to what the header declares: Arrow allocates a little for itself."""

_POOLS: list[pa.MemoryPool] = []
"""Kept for ever: a buffer that outlives its pool ends the process."""

HUGE = 100_000_000
COLUMNS = {"host": ColumnType.TAG, "az": ColumnType.TAG, "note": ColumnType.STRING, "load": ColumnType.FLOAT}


@contextmanager
def at_most(bytes_max: int) -> Iterator[None]:
    """Arrow allocates at most that within the block, freed again or not."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(pa.system_memory_pool())
    _POOLS.append(pool)
    pa.set_memory_pool(pool)
    try:
        yield
        assert (pool.max_memory() or 0) <= bytes_max
    finally:
        pa.set_memory_pool(before)


def batch(rows: int = 3, host: str = "a", note: str = "n") -> pa.RecordBatch:
    values = {
        "time": pa.array(range(rows), schema.TIME_TYPE),
        "host": pa.array([host] * rows).dictionary_encode(),
        "az": pa.array(["x", None, "y"] * rows)[:rows].dictionary_encode(),
        "note": pa.array([note] * rows),
        "load": pa.array([0.5] * rows),
    }
    wanted = schema.arrow_schema(COLUMNS)
    return pa.record_batch([values[field.name] for field in wanted], schema=wanted)


def envelope(body: bytes, **changes: int) -> Envelope:
    """True checksums and ranges around a stream, which is said to hold `batch()`."""
    mark = schema.fingerprint(COLUMNS)
    table = replace(Table(b"cpu", 3, 0, 2, mark, 0, len(body)), **changes)
    return Envelope(b"metrics", [table], body, codec=1)


def refused(payload: bytes, match: str, raw_length: int) -> None:
    with at_most(raw_length + SLACK_BYTES), pytest.raises(DataCorrupt, match=match):
        entry.decode(payload)


def compressed(one: pa.RecordBatch, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, one.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(one)
    return sink.getvalue().to_pybytes()


def test_the_plain_stream_is_read() -> None:
    """What the others are made of is an entry, and costs what its header declares."""
    body = ipc_stream(batch())
    with at_most(len(body) + SLACK_BYTES):
        assert entry.decode(envelope(body).to_bytes()).tables["cpu"] == batch()


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("where", ["host", "note", "load"])
def test_buffers_that_arrow_compressed_are_refused(codec: str, where: str) -> None:
    """In dictionaries as in columns, however large they would become."""
    big = {"host": {"host": "a" * HUGE}, "note": {"rows": 1, "note": "a" * HUGE}, "load": {"rows": 1_000_000}}
    large = batch(**big[where])  # type: ignore[arg-type]
    body = compressed(large, codec)
    assert len(body) < large.nbytes / 2
    refused(envelope(body).to_bytes(), "compressed by themselves", len(body))


def test_more_rows_than_bytes_are_refused_by_the_header() -> None:
    """Each row has a time of 8 bytes, and accounts must not believe more rows than can be."""
    body = ipc_stream(batch())
    for rows in (len(body) // 8 + 1, 2**32 - 1, 0):
        with pytest.raises(DataCorrupt, match="rows in"):
            entry.decode_header(envelope(body, rows=rows).to_bytes())


def test_tables_that_share_bytes_are_refused() -> None:
    """Thousands of tables over one body would be thousands of bodies in memory."""
    body = ipc_stream(batch())
    whole = envelope(body)
    tables = [replace(whole.tables[0], name=b"t%d" % n) for n in range(10_000)]
    refused(replace(whole, tables=tables).to_bytes(), "inside the one before", len(body))


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([SCHEMA, DICTIONARY, DICTIONARY, BATCH, BATCH], "2 batches"),
        ([SCHEMA, DICTIONARY, BATCH], "lacks 1 dictionaries"),
        ([SCHEMA, BATCH], "lacks 2 dictionaries"),
        ([SCHEMA, DICTIONARY, DICTIONARY], "0 batches"),
        ([SCHEMA, DICTIONARY, BATCH, DICTIONARY], "in the wrong place"),
        ([SCHEMA, SCHEMA, DICTIONARY, DICTIONARY, BATCH], "in the wrong place"),
        ([DICTIONARY, DICTIONARY, BATCH], "begin with a schema"),
        ([], "begin with a schema"),
    ],
)
def test_messages_out_of_place_are_refused(order: list[str], message: str) -> None:
    """Schema, a dictionary for each tag, one batch, end mark; nothing else."""
    whole = ipc_stream(batch())
    left = {kind: kinds(whole, kind) for kind in set(order)}
    parts = [left[kind].pop(0) if len(left[kind]) > 1 else left[kind][0] for kind in order]
    body = stream_of(parts)
    refused(envelope(body, rows=1).to_bytes(), message, len(body))


def test_a_dictionary_that_is_replaced_is_refused() -> None:
    """The same one twice: the first is read for nothing."""
    (_, first), *rest = messages(ipc_stream(batch()))
    dictionary = rest[0][1]
    body = stream_of([first, *[dictionary] * 1000, *(data for _, data in rest)])
    refused(envelope(body).to_bytes(), "occurs twice", len(body))


def test_a_dictionary_that_grows_is_refused() -> None:
    """Each addition copies all that was there before."""
    sink = pa.BufferOutputStream()
    small = batch()
    grown = small.set_column(
        1, small.schema.field(1), pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), ["x", "y", "z"])
    )
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_stream(sink, small.schema, options=options) as writer:
        writer.write_batch(small)
        writer.write_batch(grown)
    found = messages(sink.getvalue().to_pybytes())
    delta = [data for kind, data in found if kind == DICTIONARY][2]
    head = [data for _, data in found][:3]
    body = stream_of([*head, delta, kinds(ipc_stream(small), BATCH)[0]])
    refused(envelope(body).to_bytes(), "adds to another one, which is not allowed", len(body))


def test_what_follows_the_end_mark_or_lacks_it_is_refused() -> None:
    """A stream is exactly its range of the body."""
    body = ipc_stream(batch())
    refused(envelope(body + bytes(8)).to_bytes(), "8 bytes after its end mark", len(body))
    refused(envelope(body[:-8]).to_bytes(), "broken", len(body))


def test_columns_that_share_a_buffer_are_refused() -> None:
    """A thousand columns over one buffer would be a thousand buffers once they are copied."""
    columns = {f"f{n:04}": ColumnType.FLOAT for n in range(1000)}
    wanted = schema.arrow_schema(columns)
    arrays = [pa.array([0], schema.TIME_TYPE), *[pa.array([0.5])] * 1000]
    head, data = (message for _, message in messages(ipc_stream(pa.record_batch(arrays, schema=wanted))))
    body = stream_of([head, patched(data, share_first_buffer)])
    refused(envelope(body, rows=1, fingerprint=schema.fingerprint(columns)).to_bytes(), "Arrow buffers of", len(body))


def test_names_that_columns_share_are_refused() -> None:
    """Text counts as often as a column names it: 1000 columns over one long name are 1000 long names to Arrow."""
    fields = [pa.field("long" * 10_000, pa.int64()), *(pa.field(f"f{n}", pa.int64()) for n in range(1000))]
    (_, head), *_ = messages(ipc_stream(pa.record_batch([[0]] * 1001, schema=pa.schema(fields))))
    body = stream_of([patched(head, share_first_name)])
    refused(envelope(body).to_bytes(), "more text than bytes", len(body))


@pytest.mark.parametrize(
    "kind",
    [
        pa.null(),
        pa.list_(pa.int64()),
        pa.struct([("a", pa.struct([("b", pa.int64())]))]),
        pa.run_end_encoded(pa.int32(), pa.int64()),
        pa.list_(pa.int64(), 0),
        pa.binary(0),
        pa.map_(pa.utf8(), pa.int64()),
        pa.string_view(),
        pa.dense_union([pa.field("a", pa.int64())]),
        pa.dictionary(pa.int32(), pa.list_(pa.int64())),
    ],
    ids=str,
)
def test_types_that_no_column_has_are_refused_by_the_schema(kind: pa.DataType) -> None:
    """Types without bytes and types within types: rows that cost nothing to send, and no end of them to keep."""
    head = pa.schema([pa.field("v", kind)]).serialize().to_pybytes()
    refused(envelope(stream_of([head])).to_bytes(), "type that no column", len(head))


def test_too_many_columns_are_refused() -> None:
    """Before Arrow makes objects of them."""
    head = pa.schema([pa.field(str(n), pa.int64()) for n in range(COLUMNS_MAX + 1)]).serialize().to_pybytes()
    refused(envelope(stream_of([head])).to_bytes(), "10001 columns", len(head))


def test_metadata_of_messages_is_refused() -> None:
    """Arrow copies it, as often as it is named."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch().schema) as writer:
        writer.write_batch(batch(), custom_metadata={"a": "b"})
    body = sink.getvalue().to_pybytes()
    refused(envelope(body).to_bytes(), "custom metadata", len(body))


def test_a_big_endian_stream_is_refused() -> None:
    """Arrow would copy all of it to turn it round."""
    (_, head), *rest = messages(ipc_stream(batch()))
    body = stream_of([patched(head, mark_big_endian), *(data for _, data in rest)])
    refused(envelope(body).to_bytes(), "big-endian", len(body))


def test_columns_that_share_a_dictionary_are_refused() -> None:
    """Each tag has its own: `az` reads the id that `host` has."""
    body = ipc_stream(batch())
    first, second = kinds(body, DICTIONARY)
    head = kinds(body, SCHEMA)[0]
    ids = [at for at in range(len(head) - 8) if head[at : at + 8] == struct.pack("<q", 1)]
    shared = [head[:at] + struct.pack("<q", 0) + head[at + 8 :] for at in ids]
    found = set()
    for changed in shared:
        try:
            entry.decode(envelope(stream_of([changed, first, second, *kinds(body, BATCH)])).to_bytes())
        except DataCorrupt as error:
            found.add(error.message.rpartition(": ")[2])
    assert "Arrow columns share a dictionary" in found


def test_a_frame_larger_than_the_header_declares_is_refused() -> None:
    """zstd's own length is not believed, nor are several frames one after another."""
    body = ipc_stream(batch())
    whole = envelope(body)
    bomb = pa.Codec("zstd").compress(bytes(HUGE), asbytes=True)
    for stored in (bomb, bomb * 100, pa.Codec("zstd").compress(body, asbytes=True) * 2):
        payload = replace(whole, raw=stored, codec=0, raw_length=len(body)).to_bytes()
        refused(_as_zstd(payload), "entry body", len(body))


def _as_zstd(payload: bytes) -> bytes:
    """The payload with codec 1 and a true header sum: its stored body is read as a zstd frame."""
    start = struct.unpack_from("<I", payload, 24)[0]
    header = payload[:5] + b"\1" + payload[6 : start - 8]
    return header + struct.pack("<Q", xxhash.xxh3_64_intdigest(header)) + payload[start:]


# Mutations

BODIES = [
    ipc_stream(batch()),
    ipc_stream(batch(40, host="b" * 300)),
    compressed(batch(1000), "zstd"),
    compressed(batch(1000), "lz4"),
    ipc_stream(batch(), batch()),
    ipc_stream(pa.record_batch({"a": pa.array([[1], [2, 3]]), "b": pa.nulls(2)})),
]
ROWS = st.sampled_from([1, 2, 3, 40, 1000])
CHANGES = st.lists(
    st.tuples(st.integers(0, 100_000), st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 4, 0x7F, 0x80, 0xFF]))),
    min_size=1,
    max_size=12,
)


def decode_mutation(body: bytes, changes: list[tuple[int, int]], rows: int) -> None:
    changed = bytearray(body)
    for at, value in changes:
        changed[at % len(changed)] = value
    payload = envelope(bytes(changed), rows=rows).to_bytes()
    with at_most(len(body) + SLACK_BYTES):
        try:
            found = entry.decode(payload).tables["cpu"]
        except DataCorrupt:
            return
    found.validate(full=True)
    assert found.nbytes <= len(body)


@given(st.sampled_from(BODIES), CHANGES, ROWS)
def test_a_mutation_is_corrupt_or_valid_and_costs_little(
    body: bytes, changes: list[tuple[int, int]], rows: int
) -> None:
    """Any bytes under true checksums: DataCorrupt, or a valid batch of no more bytes than the body."""
    decode_mutation(body, changes, rows)


@campaign
@settings(max_examples=20 * seeds())
@given(st.sampled_from(BODIES), CHANGES, ROWS)
def test_mutations_at_length(body: bytes, changes: list[tuple[int, int]], rows: int) -> None:
    """The same, as long as the campaign lasts."""
    decode_mutation(body, changes, rows)
