"""Headers: every value that they may have is read as it was sent."""

import pytest

from writebuffer.conformance.buffer import ONE, Buffer
from writebuffer.conformance.samples import PRODUCER, TRACE_PARENT, record
from writebuffer.record import Record, RecordHeaders


def test_trace_context_survives(buffer: Buffer) -> None:
    """A record's trace parent is read as it was sent; one without has none."""
    writer = buffer.writer()
    traced = record(0)
    plain = Record.of(RecordHeaders("application/octet-stream", "metrics", PRODUCER, 1, 5), b"payload")
    for one in (traced, plain):
        buffer.result(writer.append(ONE, one))
    found = [one.headers.trace_parent for _, one in buffer.read_all()]
    assert found == [TRACE_PARENT, ""], f"trace parents were read as {found}, sent were {[TRACE_PARENT, '']}"


@pytest.mark.parametrize("time_ns", [-(2**63), -5, 0, 1, 1_700_000_000_123_456_789, 2**63 - 1])
def test_append_time_is_the_records_own(buffer: Buffer, time_ns: int) -> None:
    """Futures and readers report the append time of the header, to the nanosecond, never that of a clock."""
    writer = buffer.writer()
    one = record(0, time_ns=time_ns)
    found_ns = buffer.result(writer.append(ONE, one)).append_time_ns
    assert found_ns == time_ns, f"the future has the append time {found_ns} ns, the record has {time_ns} ns"
    ((_, found),) = buffer.read_all()
    assert found.headers.append_time_ns == found.append_time_ns == time_ns


@pytest.mark.parametrize(
    "headers",
    [
        RecordHeaders("", "", bytes(16), 0, 0),
        RecordHeaders("text/plain; charset=utf-8", "Größe 温度 🌡", b"\xff" * 16, 2**63, 1, "00-ä-01"),
        RecordHeaders("a" * 0xFF, "ü" * (0x7FFF // 2), b"\x00\xff" * 8, 2**64 - 1, 2**63 - 1, "t" * 0xFF),
        RecordHeaders("a\x00b", "line\nbreak\r\n{}\\ '\"", bytes(16), 1, 1, "\t"),
    ],
    ids=["empty", "unicode", "as large as can be", "control characters"],
)
@pytest.mark.parametrize("payload", [b"", b"\x00\r\n\xff" * 50], ids=["no payload", "payload"])
def test_headers_of_every_shape_survive(buffer: Buffer, headers: RecordHeaders, payload: bytes) -> None:
    """Empty, in any script, as large as can be or with control characters, with a payload or none."""
    writer = buffer.writer()
    buffer.result(writer.append(ONE, Record.of(headers, payload)))
    ((_, found),) = buffer.read_all()
    assert found.headers == headers, f"the headers were read as {found.headers}, sent were {headers}"
    assert found.payload == payload
