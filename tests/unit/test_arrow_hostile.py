"""Arrow streams that are wrong as a whole, or made to do harm: refused with what is wrong, at little cost."""

import random

import pyarrow as pa
import pyarrow.ipc
import pytest

from common.ipc.client_stream import MESSAGES_MAX
from router.parsing.batch import BatchParser
from router.parsing.messages import Body, RequestLines
from tests.support.arrow_streams import TIME, rows_of, stream_of
from tests.support.ipc_messages import (
    BATCH,
    DICTIONARY,
    END_MARK,
    SCHEMA,
    kinds,
    mark_big_endian,
    messages,
    patched,
    share_first_buffer,
    share_first_name,
)
from tests.support.ipc_messages import stream_of as joined

GOOD = rows_of(h=["a", "b"], f=[1.0, 2.0], s=["x", None])
STREAM = stream_of(GOOD)


def lines_of(data: bytes, table: str = "t") -> RequestLines:
    result = BatchParser(4).parse("ns", [Body(data, 1, 0, table=table)], {})
    (lines,) = result.requests
    assert bool(result.payloads) == bool(lines.accepted)
    return lines


def columns(**types: pa.DataType) -> bytes:
    """A stream of no rows with these columns."""
    schema = pa.schema({"time": TIME, "f": pa.float64(), **types})
    return stream_of(schema.empty_table())


def named(name: str) -> bytes:
    return columns(**{name: pa.float64()})


def file_of(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def with_metadata() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, GOOD.schema) as writer:
        writer.write_batch(GOOD, custom_metadata={"a": "b"})
    data: bytes = sink.getvalue().to_pybytes()
    return data


def in_order(*order: str) -> bytes:
    return joined(kinds(STREAM, kind)[0] for kind in order)


NO_COLUMN = "is of a type that no column of a table has"
NOT_WANTED = "give a float, integer, boolean or string (a field), or a dictionary of strings (a tag)"
LONG_NAMES = ["x" * 10_000, *map(str, range(1_000))]
REFUSED: dict[str, tuple[bytes, str]] = {
    "no-arrow": (b"t,h=a f=1 1", "the body begins with 74 2c 68 3d and is no Arrow stream"),
    "one-byte": (b"\xff", "the body begins with ff and is no Arrow stream"),
    "end-mark-alone": (END_MARK, "does not begin with a schema"),
    "without-end-mark": (STREAM[:-8], "was cut off"),
    "bytes-after-end": (STREAM + b"\n", "1 bytes after its end mark"),
    "two-streams": (STREAM + STREAM, "bytes after its end mark"),
    "file": (file_of(GOOD), "this is an Arrow file: send a stream, as pyarrow.ipc.new_stream writes it"),
    "batch-first": (in_order(BATCH, SCHEMA), "does not begin with a schema"),
    "two-schemas": (in_order(SCHEMA, SCHEMA), "a message of kind 1 in the wrong place"),
    "no-dictionary": (in_order(SCHEMA, BATCH), "has a batch before 1 of its dictionaries"),
    "dictionary-twice": (in_order(SCHEMA, DICTIONARY, DICTIONARY, BATCH), "occurs twice or belongs to no column"),
    "compressed-zstd": (
        stream_of(GOOD, compression="zstd"),
        "compressed by themselves, which is not allowed: compress the stream as a whole",
    ),
    "compressed-lz4": (stream_of(GOOD, compression="lz4"), "compressed by themselves"),
    "dictionary-delta": (
        stream_of(rows_of(h=["a"], f=[1.0]), rows_of(h=["a", "b"], f=[1.0, 2.0]), deltas=True),
        "is a delta that adds to another one",
    ),
    "metadata-of-a-batch": (with_metadata(), "custom metadata"),
    "shared-buffer": (
        joined(patched(data, share_first_buffer) if kind == BATCH else data for kind, data in messages(STREAM)),
        "Arrow buffers of",
    ),
    "shared-names": (
        joined([patched(pa.schema(dict.fromkeys(LONG_NAMES, pa.int8())).serialize().to_pybytes(), share_first_name)]),
        "more text than bytes",
    ),
    "big-endian": (joined([patched(kinds(STREAM, SCHEMA)[0], mark_big_endian)]), "big-endian"),
    "many-batches": (
        stream_of(*[rows_of(f=[1.0])] * (MESSAGES_MAX + 1)),
        f"over {MESSAGES_MAX} batches and dictionaries: send larger ones",
    ),
    "many-dictionaries": (
        stream_of(*[rows_of(h=[str(number)], f=[1.0]) for number in range(MESSAGES_MAX // 2 + 1)]),
        f"over {MESSAGES_MAX} batches and dictionaries",
    ),
    "no-time": (stream_of(pa.table({"f": [1.0]})), "no column is called time: give"),
    "two-times": (
        stream_of(pa.RecordBatch.from_arrays([pa.array([1])] * 2, names=["time", "time"])),
        "2 columns are called time: give",
    ),
    "time-as-text": (
        stream_of(pa.table({"time": ["1970"], "f": [1.0]})),
        "column time is string: give a timestamp, or int64 that counts nanoseconds since 1970",
    ),
    "time-in-32-bits": (stream_of(pa.table({"time": pa.array([1], pa.int32()), "f": [1.0]})), "column time is int32"),
    "no-fields": (stream_of(rows_of(h=["a"])), "no column is a field: give at least one"),
    "column-twice": (
        stream_of(pa.RecordBatch.from_arrays([pa.array([1])] * 3, names=["time", "f", "f"])),
        "column 'f' occurs twice",
    ),
    "reserved": (named("utc_day"), "column 'utc_day': the name is reserved; rename it"),
    "no-name": (named(""), "column without a name"),
    "control-in-name": (named("a\tb"), r"column 'a\tb' contains the control character '\t'"),
    "backslash-at-end": (named("a\\"), r"column 'a\' ends in a backslash"),
    "long-name": (named("x" * 65_536), "column name of 65536 bytes is over 65535"),
    "too-many-columns": (columns(**{f"c{n}": pa.bool_() for n in range(1_000)}), "1001 columns beside time"),
    "tag-of-numbers": (
        columns(h=pa.dictionary(pa.int32(), pa.int64())),
        f"column 'h' is dictionary<values=int64, indices=int32, ordered=0>: {NOT_WANTED}",
    ),
    "timestamp-field": (columns(at=pa.timestamp("s")), f"column 'at' is timestamp[s]: {NOT_WANTED}"),
    "list": (columns(v=pa.list_(pa.int8())), f"column 'v' {NO_COLUMN}: list"),
    "decimal": (columns(v=pa.decimal128(5, 2)), f"column 'v' {NO_COLUMN}: decimal"),
    "binary": (columns(v=pa.binary()), f"column 'v' {NO_COLUMN}: binary"),
    "string-view": (columns(v=pa.string_view()), f"column 'v' {NO_COLUMN}: string view"),
    "date": (columns(v=pa.date32()), f"column 'v' {NO_COLUMN}: date"),
    "struct": (columns(v=pa.struct([("a", pa.int8())])), f"column 'v' {NO_COLUMN}: struct"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_a_stream_that_is_wrong_is_refused_whole(data: bytes, reason: str) -> None:
    """The reason says what to send instead, where something is known."""
    lines = lines_of(data)
    assert reason in lines.refusal
    assert lines.count == 0


@pytest.mark.parametrize("table", ["a\nb", "x" * 65_536, "a\\"])
def test_a_table_is_named_as_a_measurement(table: str) -> None:
    """What no line could name is refused."""
    assert lines_of(STREAM, table).refusal.startswith("table ")


def test_text_that_is_not_utf8_refuses_the_stream() -> None:
    """In a value, and in a column's name."""
    assert "UTF8" in lines_of(STREAM.replace(b"x\0\0\0\0\0\0\0", b"\xff\0\0\0\0\0\0\0")).refusal
    assert (
        "the Arrow stream is broken"
        in lines_of(named("größe").replace("größe".encode(), b"gr\xff\xff\xff\xffe")).refusal
    )


def test_a_stream_without_rows_has_none() -> None:
    """With a batch of no rows, and without any."""
    assert lines_of(stream_of(GOOD.slice(0, 0))).count == 0
    assert lines_of(joined(kinds(STREAM, SCHEMA))).refusal == ""


def test_metadata_of_the_schema_is_ignored() -> None:
    """pandas describes its frame there."""
    assert lines_of(stream_of(GOOD.replace_schema_metadata({"pandas": "{}" * 1_000}))).accepted == 2


def test_a_column_of_type_null_has_no_values() -> None:
    """As pandas writes a column of None."""
    assert lines_of(stream_of(rows_of(f=[1.0], n=[None]))).accepted == 1


def test_a_stream_cut_anywhere_is_refused() -> None:
    """None of its rows is taken for all."""
    for end in range(len(STREAM)):
        assert lines_of(STREAM[:end]).refusal


@pytest.mark.parametrize("seed", range(8))
def test_a_stream_with_changed_bytes_is_read_or_refused(seed: int) -> None:
    """Never anything else: what comes out is as many rows as there were, or a reason."""
    rng = random.Random(seed)
    sources = [STREAM, stream_of(GOOD, GOOD), stream_of(rows_of(h=["a"], f=[1.0]), rows_of(h=["b"], f=[1.0]))]
    for _ in range(300):
        data = bytearray(rng.choice(sources))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        lines = lines_of(bytes(data))
        assert lines.refusal or lines.count <= 4
