"""What tests of faults share."""

from collections.abc import Iterator

import pytest

from tests.support.kafka_place import KafkaPlace


@pytest.fixture
def place(kafka_url: str) -> Iterator[KafkaPlace]:
    """A topic of the run's Kafka broker that does not exist yet."""
    place = KafkaPlace(kafka_url)
    yield place
    place.backend.delete()
