"""The settings of librdkafka's clients."""

from collections.abc import Mapping
from typing import Any

from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.url import FRAMING_BYTES, KafkaUrl
from writebuffer.record import RECORD_BYTES_MAX

ANSWER_S = 5.0
"""How long a question to the cluster may take before it counts as away."""

_ALL: Mapping[str, Any] = {
    "client.id": "penstock",
    "allow.auto.create.topics": False,
    # So long a broker that hangs is waited for; then its connection is given up, and its partitions' new leaders asked.
    # A produce that was under way is sent again, which the idempotent producer may.
    "socket.timeout.ms": 10_000,
}
_ADMIN: Mapping[str, Any] = {}
_PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # What arrives while five requests are in flight makes the next batches: waiting longer gave less, not more.
    "linger.ms": 0,
    # Below the 30 s that a router waits, so that its answer has the reason.
    "delivery.timeout.ms": 25_000,
    "message.max.bytes": RECORD_BYTES_MAX + 2 * FRAMING_BYTES,
    "queue.buffering.max.messages": 0,
    "queue.buffering.max.kbytes": 256 * 1024,
}
_CONSUMER: Mapping[str, Any] = {
    # Kafka wants a name although no group is joined and nothing is committed.
    "group.id": "penstock",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "check.crcs": True,
    "queued.min.messages": 1_000_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "max.partition.fetch.bytes": 2**20,
    "fetch.queue.backoff.ms": 5,
    "fetch.error.backoff.ms": 50,
}


def admin_settings(url: KafkaUrl, log: ClientLog) -> dict[str, Any]:
    return _settings(url, _ADMIN, log)


def producer_settings(url: KafkaUrl, log: ClientLog) -> dict[str, Any]:
    return _settings(url, _PRODUCER, log)


def consumer_settings(url: KafkaUrl, log: ClientLog) -> dict[str, Any]:
    return _settings(url, _CONSUMER, log)


def _settings(url: KafkaUrl, own: Mapping[str, Any], log: ClientLog) -> dict[str, Any]:
    ours = {**_ALL, **own, "bootstrap.servers": url.bootstrap, "logger": log, "error_cb": log.trouble}
    return {**ours, **url.properties}
