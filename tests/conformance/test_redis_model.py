"""The Redis scripts against a model of a few lines, on a real server."""

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from common.values.ids import Offset
from tests.support.redis_buffer import ONE
from writebuffer.record import Record, RecordHeaders
from writebuffer.redis import RedisBackend

Sent = tuple[int, int, int]
"""Producer, sequence, append time."""

starts = st.sampled_from([0, 3, 2**32 - 3, 2**53 - 2, 2**64 - 8])
runs = st.builds(
    lambda producer, start, skip, count, time: [(producer, start + skip + i, time - i) for i in range(count)],
    st.integers(0, 2),
    starts,
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(-5, 40),
)
batches = st.lists(
    st.lists(runs, min_size=1, max_size=4).map(lambda several: [one for run in several for one in run]),
    min_size=1,
    max_size=8,
)


def as_record(sent: Sent) -> Record:
    producer, sequence, time_ns = sent
    return Record.of(RecordHeaders("t", "n", bytes([producer] * 16), sequence, time_ns), b"")


@settings(max_examples=60)
@given(batches, st.integers(0, 30), st.integers(-12, 45))
def test_what_was_sent_is_stored_once_and_is_found_by_time(
    redis_url: str, appended: list[list[Sent]], trimmed: int, time_ns: int
) -> None:
    """Each producer's sequence has one offset, that of its first arrival; offsets are dense; time finds the first."""
    backend = RedisBackend.from_url(redis_url).beside(uuid.uuid4().hex)
    backend.create(1)
    writer, reader = backend.open_writer(), backend.open_reader()
    offsets: dict[tuple[int, int], int] = {}
    times: list[int] = []
    for batch in appended:
        span = writer.append_many(ONE, [as_record(one) for one in batch]).result(10)
        for producer, sequence, time in batch:
            if (producer, sequence) not in offsets:
                offsets[producer, sequence] = len(times)
                times.append(time)
        assert (span.first.offset, span.last.offset) == (offsets[batch[0][:2]], offsets[batch[-1][:2]])
    assert reader.offsets(ONE).next_offset == len(times)
    first = min(trimmed, len(times))
    assert reader.trim(ONE, Offset(trimmed)) == first
    cursor = reader.cursor(ONE)
    found = [one.record.headers for one in cursor.poll(1000, 2**20, 0).records]
    stored = {offset: key for key, offset in offsets.items()}
    assert [(one.producer_id[0], one.producer_sequence) for one in found] == [
        stored[offset] for offset in range(first, len(times))
    ]
    cursor.seek_to_time(time_ns)
    expected = next((offset for offset in range(first, len(times)) if times[offset] >= time_ns), len(times))
    assert cursor.poll(1, 1, 0).next_offset == min(expected + 1, len(times))
    writer.close()
    reader.close()
    backend.delete()
