"""Topics as an operator made them: what they must be, and what is said where they are not."""

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

from common.values.errors import Misconfigured, Unavailable
from tests.support.buffer_records import record
from tests.support.kafka_place import ONE, KafkaPlace
from tests.support.wait import wait_until
from writebuffer.errors import SequencersDiffer


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
def test_a_topic_with_settings_that_break_the_promise_is_refused(place: KafkaPlace, settings: dict[str, str]) -> None:
    """At create and at opening for writing, with the setting to change; reading it is still possible."""
    place.make(1, **settings)
    (name,) = settings
    refused: list[Callable[[], Any]] = [lambda: place.backend.create(1), place.backend.open_writer]
    for act in refused:
        with pytest.raises(Misconfigured, match=name.replace("_", r"\.") + " is "):
            act()
    place.backend.open_reader().close()


def test_another_number_of_partitions_is_refused(place: KafkaPlace) -> None:
    """The sequencers are the partitions, and a series' sequencer follows from their number."""
    place.make(3)
    with pytest.raises(SequencersDiffer, match="made with 3 sequencers, asked for 4"):
        place.backend.create(4)
    place.backend.create(3)


def test_a_topic_that_penstock_makes_keeps_what_it_is_given(place: KafkaPlace) -> None:
    """Kafka trims nothing by itself, and takes append times of any age."""
    place.backend.create(1)
    writer = place.backend.open_writer()
    for time_ns in (-(2**63), 0, 2**63 - 1):
        assert writer.append(ONE, record(1, time_ns=time_ns)).result(10).append_time_ns == time_ns
    assert "only replica" in writer.durability()
    writer.close()


def test_partitions_that_were_added_change_nothing_for_who_is_there(place: KafkaPlace) -> None:
    """The number of sequencers is that of the opening; a new opening with the old number is refused."""
    place.backend.create(1)
    reader = place.backend.open_reader()
    place.admin.create_partitions([NewPartitions(place.topic, 2)])[place.topic].result(10)
    assert list(reader.sequencers()) == [0]
    wait_until(lambda: len(place.backend.open_reader().sequencers()) == 2)
    with pytest.raises(SequencersDiffer):
        place.backend.create(1)


def test_a_record_over_the_topics_limit_says_which_setting_to_change(place: KafkaPlace) -> None:
    """The caller keeps what it has and may try again; other appends are not affected."""
    place.backend.create(1)
    writer = place.backend.open_writer()
    writer.append(ONE, record(0)).result(10)
    place.set("max.message.bytes", "1000")
    error = writer.append(ONE, record(1, 100_000)).exception(10)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert "set the topic's max.message.bytes" in error.message
    assert writer.append(ONE, record(2)).result(10).offset == 1
    writer.close()
