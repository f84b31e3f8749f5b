"""A Kafka topic of one test, for the fixture `place` of tests/faults."""

import uuid

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from common.values.ids import SequencerId
from tests.support.wait import wait_until
from writebuffer.kafka import KafkaBackend

ONE = SequencerId(0)
EVERYTHING = (10_000, 2**30)


class KafkaPlace:
    """A topic of a name of its own, and an operator's hands on it."""

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

    def set(self, name: str, value: str) -> None:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.topic, incremental_configs=[entry])
        self.admin.incremental_alter_configs([resource])[resource].result(10)
