"""What a Kafka topic may hold: others' messages, gaps, trimmed ranges; and how a cursor reads through it."""

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from common.values.errors import DataCorrupt, Unavailable
from common.values.ids import Offset
from tests.support.buffer_records import numbers, read_from, record, record_of_bytes, records
from tests.support.kafka_place import EVERYTHING, ONE, KafkaPlace
from tests.support.wait import wait_until
from writebuffer.errors import OffsetTrimmed
from writebuffer.kafka import KafkaBackend


def test_a_message_that_is_no_record_stops_the_cursor_there(place: KafkaPlace) -> None:
    """DataCorrupt names its offset at every poll; records before it are returned, and a seek past it goes on."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(3))).result(10)
    foreign = Producer({"bootstrap.servers": place.bootstrap, "log_level": 0})
    foreign.produce(place.topic, b"something else", partition=0)
    foreign.flush(10)
    writer.append_many(ONE, records(range(4, 6))).result(10)
    cursor = reader.cursor(ONE)
    assert numbers(one for _, one in read_from(cursor, 3)) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(DataCorrupt) as raised:
            cursor.poll(*EVERYTHING, 1)
        assert (raised.value.sequencer, raised.value.offset) == (0, 3)
    cursor.seek(Offset(4))
    assert numbers(one for _, one in read_from(cursor, 2)) == [4, 5]
    writer.close()
    reader.close()


def test_control_records_and_aborted_ones_are_passed_over(place: KafkaPlace) -> None:
    """Of a foreign transaction a cursor returns what was committed; it reaches next, so that its lag becomes 0."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.cursor(ONE)
    writer.append(ONE, record(0)).result(10)
    foreign = Producer({"bootstrap.servers": place.bootstrap, "transactional.id": place.topic, "log_level": 0})
    foreign.init_transactions(20)
    for number, end in ((1, foreign.commit_transaction), (2, foreign.abort_transaction)):
        foreign.begin_transaction()
        foreign.produce(place.topic, record(number).to_bytes(), partition=0)
        foreign.flush(10)
        end(20)
    # The end of a transaction returns before Kafka has written its control record.
    next_offset = wait_until(lambda: reader.offsets(ONE).next_offset, holds=lambda offset: offset >= 5)
    assert next_offset == 5
    assert numbers(one for _, one in read_from(cursor, 2)) == [0, 1]
    assert cursor.poll(*EVERYTHING, 0).next_offset == next_offset
    assert writer.append(ONE, record(3)).result(10).offset == 5
    assert numbers(one for _, one in read_from(cursor, 1)) == [3]
    cursor.seek(Offset(2))
    assert numbers(one for _, one in read_from(cursor, 1)) == [3]
    writer.close()
    reader.close()


def test_an_open_transaction_holds_next_back(place: KafkaPlace) -> None:
    """What follows its first record is neither counted nor returned before it has ended."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    foreign = Producer({"bootstrap.servers": place.bootstrap, "transactional.id": place.topic, "log_level": 0})
    foreign.init_transactions(20)
    foreign.begin_transaction()
    foreign.produce(place.topic, record(1).to_bytes(), partition=0)
    foreign.flush(10)
    writer.append(ONE, record(2)).result(10)
    cursor = reader.cursor(ONE)
    assert reader.offsets(ONE).next_offset == 0
    assert not cursor.poll(*EVERYTHING, 0.2).records
    foreign.abort_transaction(20)
    assert numbers(one for _, one in read_from(cursor, 1)) == [2]
    writer.close()
    reader.close()


def test_retention_under_a_cursor_is_reported(place: KafkaPlace) -> None:
    """Where Kafka itself removed segments the cursor raises OffsetTrimmed, and goes on where it is sought."""
    place.make(segment_bytes="1100000", retention_bytes="1100000", file_delete_delay_ms="0")
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.cursor(ONE)
    for _ in range(5):
        writer.append(ONE, record_of_bytes(900_000)).result(10)
    first_offset = wait_until(place.first_offset, what="Kafka removes segments", timeout_s=30)
    with pytest.raises(OffsetTrimmed) as raised:
        cursor.poll(*EVERYTHING, 0)
    assert raised.value.first_offset >= first_offset
    cursor.seek(raised.value.first_offset)
    assert cursor.poll(1, 1, 5).records[0].offset == raised.value.first_offset
    writer.close()
    reader.close()


def test_another_clients_delete_records_is_reported(place: KafkaPlace) -> None:
    """As for penstock's own trim; an exact offset, in the middle of a batch."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(10))).result(10)
    cursor = reader.cursor(ONE)
    at = TopicPartition(place.topic, 0, 7)
    place.admin.delete_records([at])[at].result(10)
    with pytest.raises(OffsetTrimmed) as raised:
        cursor.poll(*EVERYTHING, 0)
    assert raised.value.first_offset == 7
    cursor.seek(Offset(7))
    assert numbers(one for _, one in read_from(cursor, 3)) == [7, 8, 9]
    writer.close()
    reader.close()


def test_a_trim_answers_with_the_first_offset_left(place: KafkaPlace) -> None:
    """Exact, never past next, and never back."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(10))).result(10)
    assert [reader.trim(ONE, Offset(before)) for before in (0, 4, 2, 100, 5)] == [0, 4, 4, 10, 10]
    assert writer.append(ONE, record(10)).result(10).offset == 10
    writer.close()
    reader.close()


def test_time_is_found_to_the_nanosecond_with_a_clock_that_stepped_back(place: KafkaPlace) -> None:
    """Kafka's index knows milliseconds; the first record at or after the time, in order of offsets, is found."""
    times_ns = [5, 10**6 - 1, 10**6, 10**6 + 7, 9 * 10**6, 3 * 10**6, 9 * 10**6 + 1, 2 * 10**6, 12 * 10**6]
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    for number, time_ns in enumerate(times_ns):
        writer.append(ONE, record(number, time_ns=time_ns)).result(10)
    cursor = reader.cursor(ONE)
    for asked in sorted({time_ns + step for time_ns in times_ns for step in (-1, 0, 1)} | {-(2**63), 2**63 - 1}):
        cursor.seek_to_time(asked)
        expected = next((at for at, time_ns in enumerate(times_ns) if time_ns >= asked), len(times_ns))
        assert cursor.poll(1, 1, 0).next_offset == min(expected + 1, len(times_ns)), asked
    writer.close()
    reader.close()


def test_a_full_local_queue_refuses_and_says_that_nothing_was_written(place: KafkaPlace) -> None:
    """The future fails at once; what was queued before is stored; an append_many that was queued in part is unknown."""
    place.backend.create(1)
    small = KafkaBackend.from_url(f"{place.url}?queue.buffering.max.kbytes=2000&linger.ms=1000&batch.num.messages=100")
    writer = small.open_writer()
    writer.append(ONE, record(0)).result(10)
    queued = [writer.append(ONE, record_of_bytes(900_000)) for _ in range(2)]
    part = writer.append_many(ONE, [record(1), record_of_bytes(900_000)])
    none = writer.append(ONE, record_of_bytes(900_000))
    refused = none.exception(10)
    assert isinstance(refused, Unavailable)
    assert refused.written == "no"
    assert "queue is full" in refused.message
    half = part.exception(10)
    assert isinstance(half, Unavailable)
    assert half.written == "unknown"
    assert [future.result(10).offset for future in queued] == [1, 2]
    assert writer.append(ONE, record_of_bytes(900_000)).result(10).offset == 4
    writer.close()


def test_an_idle_cursor_does_not_spin(place: KafkaPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits at the end it looks up a few times a second, also in the last millisecond of its polls."""
    looks = []

    class Counted(Consumer):
        def poll(self, timeout: float = -1) -> Message | None:
            looks.append(timeout)
            return super().poll(timeout)

    monkeypatch.setattr("writebuffer.kafka.cursor.Consumer", Counted)
    place.backend.create(1)
    reader = place.backend.open_reader()
    cursor = reader.cursor(ONE)
    cursor.poll(*EVERYTHING, 1)
    assert looks
    looks.clear()
    for _ in range(10):
        cursor.poll(*EVERYTHING, 0.0609)
    assert 10 <= len(looks) < 100, f"{len(looks)} looks in 10 polls of 60 ms"
    reader.close()
