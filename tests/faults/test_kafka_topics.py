"""What may stand in a Kafka topic, or happen to it: others' settings, gaps, trims, retention, deletion."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from common.errors import DataCorrupt, Forked, Misconfigured, Unavailable
from common.ids import Offset, SequencerId
from tests.support.buffer_records import numbers, read_from, record, record_of_bytes, records
from tests.support.wait import wait_until
from writebuffer.errors import OffsetTrimmed, SequencersDiffer, WriterDied
from writebuffer.kafka import KafkaBackend

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


class Place:
    """A topic that does not exist yet, and an operator's hands on it."""

    def __init__(self, url: str) -> None:
        self.topic = f"t{uuid.uuid4().hex[:12]}"
        self.url = f"{url}/{self.topic}"
        self.bootstrap = url.removeprefix("kafka://")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self.backend = KafkaBackend.from_url(self.url)

    def make(self, partitions: int = 1, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self.admin.create_topics([NewTopic(self.topic, partitions, 1, config=config)])[self.topic].result(10)
        wait_until(lambda: self.topic in self.admin.list_topics(timeout=5).topics)

    def remake(self) -> None:
        self.backend.delete()
        self.backend.create(1)

    def first_offset(self) -> int:
        return self.backend.open_reader().offsets(ONE).first_offset


@pytest.fixture
def place(kafka_url: str) -> Iterator[Place]:
    place = Place(kafka_url)
    yield place
    place.backend.delete()


@pytest.mark.parametrize(
    "settings",
    [
        {"cleanup_policy": "compact"},
        {"cleanup_policy": "compact,delete"},
        {"unclean_leader_election_enable": "true"},
        {"min_insync_replicas": "2"},
        {"max_message_bytes": "1000000"},
        {"message_timestamp_type": "LogAppendTime"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_a_topic_with_settings_that_break_the_promise_is_refused(place: Place, settings: dict[str, str]) -> None:
    """At create and at opening for writing, with the setting to change; reading it is still possible."""
    place.make(**settings)
    (name,) = settings
    refused: list[Callable[[], Any]] = [lambda: place.backend.create(1), place.backend.open_writer]
    for act in refused:
        with pytest.raises(Misconfigured, match=name.replace("_", r"\.") + " is "):
            act()
    place.backend.open_reader().close()


def test_another_number_of_partitions_is_refused(place: Place) -> None:
    """The sequencers are the partitions, and a series' sequencer follows from their number."""
    place.make(3)
    with pytest.raises(SequencersDiffer, match="made with 3 sequencers, asked for 4"):
        place.backend.create(4)
    place.backend.create(3)


def test_a_topic_that_penstock_makes_keeps_what_it_is_given(place: Place) -> None:
    """Kafka trims nothing by itself, and takes append times of any age."""
    place.backend.create(1)
    writer = place.backend.open_writer()
    for time_ns in (-(2**63), 0, 2**63 - 1):
        assert writer.append(ONE, record(1, time_ns=time_ns)).result(10).append_time_ns == time_ns
    assert "only replica" in writer.durability()
    writer.close()


def test_a_message_that_is_no_record_stops_the_cursor_there(place: Place) -> None:
    """DataCorrupt names its offset at every poll; records before it are returned, and a seek past it goes on."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(3))).result(10)
    foreign = Producer({"bootstrap.servers": place.bootstrap, "log_level": 0})
    foreign.produce(place.topic, b"something else", partition=0)
    foreign.flush(10)
    writer.append_many(ONE, records(range(4, 6))).result(10)
    cursor = reader.reader(ONE)
    assert numbers(one for _, one in read_from(cursor, 3)) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(DataCorrupt) as raised:
            cursor.poll(*EVERYTHING, 1)
        assert (raised.value.sequencer, raised.value.offset) == (0, 3)
    cursor.seek(Offset(4))
    assert numbers(one for _, one in read_from(cursor, 2)) == [4, 5]
    writer.close()
    reader.close()


def test_control_records_and_aborted_ones_are_passed_over(place: Place) -> None:
    """Of a foreign transaction a cursor returns what was committed; it reaches next, so that its lag becomes 0."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.reader(ONE)
    writer.append(ONE, record(0)).result(10)
    foreign = Producer({"bootstrap.servers": place.bootstrap, "transactional.id": place.topic, "log_level": 0})
    foreign.init_transactions(20)
    for number, end in ((1, foreign.commit_transaction), (2, foreign.abort_transaction)):
        foreign.begin_transaction()
        foreign.produce(place.topic, record(number).to_bytes(), partition=0)
        foreign.flush(10)
        end(20)
    next_offset = reader.offsets(ONE).next_offset
    assert next_offset == 5
    assert numbers(one for _, one in read_from(cursor, 2)) == [0, 1]
    assert cursor.poll(*EVERYTHING, 0).next_offset == next_offset
    assert writer.append(ONE, record(3)).result(10).offset == 5
    assert numbers(one for _, one in read_from(cursor, 1)) == [3]
    cursor.seek(Offset(2))
    assert numbers(one for _, one in read_from(cursor, 1)) == [3]
    writer.close()
    reader.close()


def test_an_open_transaction_holds_next_back(place: Place) -> None:
    """What stands behind its first record is neither counted nor returned before it has ended."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    foreign = Producer({"bootstrap.servers": place.bootstrap, "transactional.id": place.topic, "log_level": 0})
    foreign.init_transactions(20)
    foreign.begin_transaction()
    foreign.produce(place.topic, record(1).to_bytes(), partition=0)
    foreign.flush(10)
    writer.append(ONE, record(2)).result(10)
    cursor = reader.reader(ONE)
    assert reader.offsets(ONE).next_offset == 0
    assert not cursor.poll(*EVERYTHING, 0.2).records
    foreign.abort_transaction(20)
    assert numbers(one for _, one in read_from(cursor, 1)) == [2]
    writer.close()
    reader.close()


def test_retention_under_a_cursor_is_told(place: Place) -> None:
    """Where Kafka itself removed segments the cursor raises OffsetTrimmed, and goes on where it is sought."""
    place.make(segment_bytes="1100000", retention_bytes="1100000", file_delete_delay_ms="0")
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.reader(ONE)
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


def test_another_clients_delete_records_is_told(place: Place) -> None:
    """As for penstock's own trim; an exact offset, in the middle of a batch."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(10))).result(10)
    cursor = reader.reader(ONE)
    at = TopicPartition(place.topic, 0, 7)
    place.admin.delete_records([at])[at].result(10)
    with pytest.raises(OffsetTrimmed) as raised:
        cursor.poll(*EVERYTHING, 0)
    assert raised.value.first_offset == 7
    cursor.seek(Offset(7))
    assert numbers(one for _, one in read_from(cursor, 3)) == [7, 8, 9]
    writer.close()
    reader.close()


def test_time_is_found_to_the_nanosecond_with_a_clock_that_stepped_back(place: Place) -> None:
    """Kafka's index knows milliseconds; the first record at or after the time, in order of offsets, is found."""
    times_ns = [5, 10**6 - 1, 10**6, 10**6 + 7, 9 * 10**6, 3 * 10**6, 9 * 10**6 + 1, 2 * 10**6, 12 * 10**6]
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    for number, time_ns in enumerate(times_ns):
        writer.append(ONE, record(number, time_ns=time_ns)).result(10)
    cursor = reader.reader(ONE)
    for asked in sorted({time_ns + step for time_ns in times_ns for step in (-1, 0, 1)} | {-(2**63), 2**63 - 1}):
        cursor.seek_to_time(asked)
        expected = next((at for at, time_ns in enumerate(times_ns) if time_ns >= asked), len(times_ns))
        assert cursor.poll(1, 1, 0).next_offset == min(expected + 1, len(times_ns)), asked
    writer.close()
    reader.close()


def test_a_full_local_queue_refuses_and_says_that_nothing_was_written(place: Place) -> None:
    """The future fails at once; what was taken before stands; an append_many that was taken in part is unknown."""
    place.backend.create(1)
    small = KafkaBackend.from_url(f"{place.url}?queue.buffering.max.kbytes=2000&linger.ms=1000&batch.num.messages=100")
    writer = small.open_writer()
    writer.append(ONE, record(0)).result(10)
    taken = [writer.append(ONE, record_of_bytes(900_000)) for _ in range(2)]
    part = writer.append_many(ONE, [record(1), record_of_bytes(900_000)])
    none = writer.append(ONE, record_of_bytes(900_000))
    refused = none.exception(10)
    assert isinstance(refused, Unavailable)
    assert refused.written == "no"
    assert "queue is full" in refused.message
    half = part.exception(10)
    assert isinstance(half, Unavailable)
    assert half.written == "unknown"
    assert [future.result(10).offset for future in taken] == [1, 2]
    assert writer.append(ONE, record_of_bytes(900_000)).result(10).offset == 4
    writer.close()


def test_a_fatal_error_of_the_producer_ends_the_writer(place: Place) -> None:
    """What librdkafka calls fatal fails later appends as WriterDied with the cause; they are not written."""
    place.backend.create(1)
    writer = place.backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    writer._log.trouble(KafkaError(KafkaError._FATAL, "the broker forgot this producer", True))
    error = wait_until(lambda: writer.append(ONE, record(1)).exception(10), timeout_s=10)
    assert isinstance(error, WriterDied)
    assert "forgot this producer" in str(error)
    last = writer.append(ONE, record(2)).exception(0)
    assert isinstance(last, WriterDied)
    assert last.written == "no"
    writer.close()


def test_an_idle_cursor_does_not_spin(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits at the end it looks up a few times a second, also in the last millisecond of its polls."""
    place.backend.create(1)
    reader = place.backend.open_reader()
    cursor = reader.reader(ONE)
    cursor.poll(*EVERYTHING, 1)
    looks = []
    fetch = cursor._fetch
    monkeypatch.setattr(cursor, "_fetch", lambda timeout_s: (looks.append(timeout_s), fetch(timeout_s)))
    for _ in range(10):
        cursor.poll(*EVERYTHING, 0.0609)
    assert len(looks) < 100, f"{len(looks)} looks in 10 polls of 60 ms"
    reader.close()


def test_a_record_over_the_topics_limit_says_which_setting_to_change(place: Place) -> None:
    """The broker's refusal of one append is Misconfigured; others are not affected."""
    place.backend.create(1)
    writer = place.backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    settings = place.admin.incremental_alter_configs([_altered(place.topic, "max.message.bytes", "1000")])
    for future in settings.values():
        future.result(10)
    error = writer.append(ONE, record(1, 100_000)).exception(10)
    assert isinstance(error, Misconfigured)
    assert "max.message.bytes" in error.message
    assert writer.append(ONE, record(2)).result(10).offset == 1
    writer.close()


@pytest.mark.parametrize("again", [0, 1, 10], ids=["empty", "shorter", "longer"])
def test_nothing_of_another_topic_of_that_name_is_returned(place: Place, again: int) -> None:
    """A cursor that was reading raises Forked once the topic was deleted and made again, whatever stands in the new."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(3))).result(10)
    cursor = reader.reader(ONE)
    assert len(read_from(cursor, 3)) == 3
    writer.close()
    place.remake()
    if again:
        other = place.backend.open_writer()
        other.append_many(ONE, records(range(100, 100 + again))).result(10)
        other.close()
    with pytest.raises(Forked, match="made again"):
        wait_until(lambda: list(cursor.poll(*EVERYTHING, 0.2).records), holds=_fail_on_records)
    for act in (lambda: reader.offsets(ONE), lambda: cursor.seek_to_next(), lambda: reader.trim(ONE, Offset(1))):
        with pytest.raises(Forked):
            act()
    reader.close()


def test_a_deleted_topic_is_forked(place: Place) -> None:
    """For a waiting cursor within seconds, for a writer as soon as it would acknowledge."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    cursor = reader.reader(ONE)
    place.backend.delete()
    with pytest.raises(Forked, match="deleted"):
        cursor.poll(*EVERYTHING, 20)
    assert isinstance(writer.append(ONE, record(1)).exception(30), Forked)
    assert isinstance(writer.append(ONE, record(2)).exception(1), Forked)
    writer.close()
    reader.close()


def test_partitions_that_were_added_change_nothing_for_who_is_there(place: Place) -> None:
    """The number of sequencers is that of the opening; a new opening with the old number is refused."""
    place.backend.create(1)
    reader = place.backend.open_reader()
    place.admin.create_partitions([NewPartitions(place.topic, 2)])[place.topic].result(10)
    assert list(reader.sequencers()) == [0]
    wait_until(lambda: len(place.backend.open_reader().sequencers()) == 2)
    with pytest.raises(SequencersDiffer):
        place.backend.create(1)


def test_a_trim_answers_with_the_first_offset_left(place: Place) -> None:
    """Exact, never past next, and never back."""
    place.backend.create(1)
    writer, reader = place.backend.open_writer(), place.backend.open_reader()
    writer.append_many(ONE, records(range(10))).result(10)
    assert [reader.trim(ONE, Offset(before)) for before in (0, 4, 2, 100, 5)] == [0, 4, 4, 10, 10]
    assert writer.append(ONE, record(10)).result(10).offset == 10
    writer.close()
    reader.close()


def _fail_on_records(found: list[object]) -> bool:
    assert not found, f"records of another topic: {found}"
    return False


def _altered(topic: str, name: str, value: str) -> Any:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
