"""Decoding a record: fully validated, and never an exception for what it holds."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import entry as codec
from common.entry import Entry
from common.values.ids import Offset
from common.values.schema import ColumnType, arrow_schema
from ingester.following.decode import Decoded, Undecodable, decode
from tests.support.records import DAY0_NS, NAMESPACE, headers, record, row, rows_of
from writebuffer.contract import SequencedRecord
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

ROWS = [row(DAY0_NS, "a", v=1.0), row(DAY0_NS + 1, None, v=2.0)]
GOOD = record({"cpu": ROWS}, producer=5, sequence=9, append_time_ns=77)


def decoded(made: Record) -> Decoded:
    return decode(SequencedRecord(Offset(4), made))


def reason(found: Decoded) -> str:
    assert isinstance(found.content, Undecodable)
    return found.content.reason


def test_a_good_record_has_its_marks_and_its_entry() -> None:
    """Offset, producer, sequence, append time, checksum, size and rows, as the core needs them."""
    found = decoded(GOOD)
    assert isinstance(found.content, Entry)
    assert rows_of(found.content.tables["cpu"]) == ROWS
    assert (found.offset, found.producer_id, found.producer_sequence) == (4, (5).to_bytes(16), 9)
    assert (found.append_time_ns, found.rows) == (77, 2)
    assert (found.checksum, found.size, found.data) == (GOOD.checksum(), len(GOOD), GOOD.to_bytes())


@settings(max_examples=200)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_damage_is_undecodable_or_another_header(at: int, flip: int) -> None:
    """A flipped byte of the payload is never mistaken for data; no flipped byte raises an error."""
    data = bytearray(GOOD.to_bytes())
    data[at] ^= flip
    if at < 4:
        return  # lengths and version are the buffer's to check: Record.from_bytes
    found = decoded(Record(bytes(data[: len(GOOD.header_block)]), bytes(data[len(GOOD.header_block) :])))
    if at >= len(GOOD.header_block):
        assert reason(found)


def test_rows_are_counted_as_far_as_the_header_reads() -> None:
    """A broken body after a good header still says how many rows were lost to a dead letter."""
    body = Record(GOOD.header_block, GOOD.payload[:-1] + b"\0")
    assert (reason(decoded(body)), decoded(body).rows) == ("entry body does not match its checksum", 2)
    header = Record(GOOD.header_block, b"?" + GOOD.payload[1:])
    assert decoded(header).rows == 0


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Record(GOOD.header_block, b""), "entry of 0 bytes"),
        (Record.of(RecordHeaders("text/plain", NAMESPACE, b"p" * 16, 0, 0), GOOD.payload), "content type 'text/plain'"),
        (
            Record.of(RecordHeaders(ENTRY_CONTENT_TYPE, "other", b"p" * 16, 0, 0), GOOD.payload),
            "namespace 'metrics' in the entry, 'other' in the header",
        ),
        (Record(GOOD.header_block.replace(b"metrics", b"\xff" * 7), GOOD.payload), "not UTF-8"),
    ],
    ids=["empty", "content type", "namespace", "header text"],
)
def test_the_reason_says_what_does_not_fit(made: Record, expected: str) -> None:
    """Each reason names what was found; it goes into the dead letter."""
    assert expected in reason(decoded(made))


def test_a_header_that_cannot_be_read_names_no_producer() -> None:
    """Then the record repeats none and is repeated by none."""
    found = decoded(Record(GOOD.header_block.replace(b"metrics", b"\xff" * 7), GOOD.payload))
    assert (found.producer_id, found.producer_sequence, found.append_time_ns) == (None, 0, 0)


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None], pa.utf8()),
        pa.Array.from_buffers(pa.utf8(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]),
    ],
    ids=["null", "not UTF-8"],
)
def test_tag_values_are_text(values: pa.Array) -> None:
    """A dictionary with a null or with bytes that are no text is refused here, not met by the core as a crash."""
    schema = arrow_schema({"host": ColumnType.TAG})
    tag = pa.DictionaryArray.from_arrays(pa.array([len(values) - 1], pa.int32()), values)
    time = pa.array([DAY0_NS], pa.int64()).cast(schema.field("time").type)
    batch = pa.RecordBatch.from_arrays([time, tag], schema=schema)
    payload = codec.encode(Entry(NAMESPACE, {"cpu": batch}))
    assert reason(decoded(Record.of(headers(NAMESPACE, 1, 0, 0), payload)))
