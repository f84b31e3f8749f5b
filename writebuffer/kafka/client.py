"""librdkafka's clients: their settings, where their log goes, and what their errors mean to penstock."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError

from common.errors import DataCorrupt, Misconfigured, PenstockError, Unavailable, Written
from common.logs import Logger
from writebuffer.kafka.url import FRAMING_BYTES, KafkaUrl
from writebuffer.record import RECORD_BYTES_MAX

ANSWER_S = 5.0
"""How long a question to the cluster may take before it counts as away."""

_ALL: Mapping[str, Any] = {"client.id": "penstock", "allow.auto.create.topics": False}
_ADMIN: Mapping[str, Any] = {}
_PRODUCER: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    # What arrives while five requests are in flight makes the next batches: waiting longer gave less, not more.
    "linger.ms": 0,
    "delivery.timeout.ms": 30_000,
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
_MISCONFIGURED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the rights on the topic (docs/formats/kafka.md lists them)",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give this user the rights on the cluster, or let an operator do it",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.mechanism, sasl.username and sasl.password",
    KafkaError._AUTHENTICATION: "check sasl.mechanism, sasl.username and sasl.password",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "choose a sasl.mechanism that the broker has",
    KafkaError._SSL: "check security.protocol and the ssl.* properties",
    KafkaError.MSG_SIZE_TOO_LARGE: f"set the topic's max.message.bytes to {RECORD_BYTES_MAX + FRAMING_BYTES} or more",
    KafkaError.RECORD_LIST_TOO_LARGE: "set the topic's segment.bytes higher",
    KafkaError.INVALID_TIMESTAMP: "mend this machine's clock, or widen the topic's message.timestamp.after.max.ms and "
    "message.timestamp.before.max.ms",
    KafkaError.INVALID_CONFIG: "the cluster does not take these settings; make the topic by hand",
    KafkaError.INVALID_REPLICATION_FACTOR: "choose replication= of the URL by the number of brokers",
    KafkaError.POLICY_VIOLATION: "the cluster's policy forbids it; make the topic by hand",
    KafkaError.TOPIC_EXCEPTION: "choose another topic name",
    KafkaError.TOPIC_DELETION_DISABLED: "set delete.topic.enable on the brokers",
    KafkaError.UNSUPPORTED_VERSION: "use Kafka 3.6 or newer",
    KafkaError._UNSUPPORTED_FEATURE: "use Kafka 3.6 or newer",
    KafkaError.INVALID_RECORD: "the topic takes records with a key only (cleanup.policy=compact); use another topic",
}
_CORRUPT = {KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG}
ABSENT = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
OUT_OF_RANGE = {KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION}
AWAY = {KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT}


def admin_settings(url: KafkaUrl, log: "ClientLog") -> dict[str, Any]:
    return _settings(url, _ADMIN, log)


def producer_settings(url: KafkaUrl, log: "ClientLog") -> dict[str, Any]:
    return _settings(url, _PRODUCER, log)


def consumer_settings(url: KafkaUrl, log: "ClientLog") -> dict[str, Any]:
    return _settings(url, _CONSUMER, log)


def _settings(url: KafkaUrl, own: Mapping[str, Any], log: "ClientLog") -> dict[str, Any]:
    ours = {**_ALL, **own, "bootstrap.servers": url.bootstrap, "logger": log, "error_cb": log.trouble}
    return {**ours, **url.properties}


class ClientLog:
    """Where one client's log lines and troubles go: to penstock's log, and into the message of what fails by them.

    librdkafka tries again by itself, so that none of its lines is more than a warning here; what fails in the end is
    an error where it is handled.
    """

    def __init__(self, logger: Logger, **bound: object) -> None:
        self._logger = logger
        self._bound = bound
        self._lock = threading.Lock()
        self._last: KafkaError | None = None
        self._unseen = False

    def log(self, level: int, text: str, *values: object) -> None:
        """What confluent_kafka calls with each line, as logging.Logger has it."""
        line = text % values if values else text
        if "CONFWARN" in line:  # a consumer's property in a producer, and the other way round
            return
        if level >= logging.ERROR:
            self._logger.warning("librdkafka", line=line, **self._bound)
        elif level >= logging.WARNING:
            self._logger.info("librdkafka", line=line, **self._bound)
        else:
            self._logger.debug("librdkafka", line=line, **self._bound)

    def trouble(self, error: KafkaError) -> None:
        """What confluent_kafka calls when a client has lost a broker, is refused, or is at its end."""
        with self._lock:
            self._last, self._unseen = error, True

    def take_trouble(self) -> KafkaError | None:
        """What has come since the last call."""
        with self._lock:
            unseen, self._unseen = self._unseen, False
            return self._last if unseen else None

    def explain(self, error: KafkaError) -> KafkaError:
        """The trouble behind a time-out, where there was one."""
        with self._lock:
            return self._last if self._last and error.code() in AWAY else error


def translated(error: KafkaError, what: str, *, written: Written = "no", **details: object) -> PenstockError:
    """penstock's error for `error`; `what` says place and what was asked."""
    code = error.code()
    told = f"{what}: {error.str() or error.name()}"
    if code in _MISCONFIGURED:
        return Misconfigured(f"{told}; {_MISCONFIGURED[code]}", **details)
    if code in _CORRUPT:
        return DataCorrupt(f"{told}; a replica's disk is damaged: restore it from another", **details)
    return Unavailable(told, written=written, **details)
