"""What librdkafka's errors mean to penstock."""

from confluent_kafka import KafkaError

from common.values.errors import DataCorrupt, Misconfigured, PenstockError, Unavailable, Written
from writebuffer.kafka.url import FRAMING_BYTES
from writebuffer.record import RECORD_BYTES_MAX

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
LATE = {*AWAY, KafkaError._MSG_TIMED_OUT}
"""What is only the end of a wait: why there was no answer is in the client's troubles."""


def translated(error: KafkaError, what: str, *, written: Written = "no", **details: object) -> PenstockError:
    """penstock's error for `error`; `what` says place and what was asked."""
    code = error.code()
    message = f"{what}: {error.str() or error.name()}"
    if code in _MISCONFIGURED:
        return Misconfigured(f"{message}; {_MISCONFIGURED[code]}", **details)
    if code in _CORRUPT:
        return DataCorrupt(f"{message}; a replica's disk is damaged: restore it from another", **details)
    return Unavailable(message, written=written, **details)
