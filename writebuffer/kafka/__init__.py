"""The Kafka backend: one topic, its partitions are the sequencers, offsets are Kafka's own.

A record's bytes are a message's value; there is no key. docs/formats/kafka.md says what is in the topic, which
settings it needs and what is promised by how many replicas. Only this package imports confluent_kafka.
"""

from writebuffer.kafka.backend import KafkaBackend

__all__ = ["KafkaBackend"]
