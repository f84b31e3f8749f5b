"""What tests of faults share."""

from collections.abc import Iterator

import pytest

from tests.support import kafka_server
from tests.support.kafka_place import KafkaPlace
from tests.support.kafka_server import KafkaServer


@pytest.fixture
def place(kafka_url: str) -> Iterator[KafkaPlace]:
    """A topic of the run's Kafka broker that does not exist yet."""
    place = KafkaPlace(kafka_url)
    yield place
    place.backend.delete()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka broker that tests may kill, and leave running."""
    if reason := kafka_server.why_not():
        pytest.skip(reason)
    server = KafkaServer(tmp_path_factory.mktemp("broker"))
    server.start()
    yield server
    server.resume()
    server.kill()
