"""Append times as Kafka's own timestamps, by which it finds offsets."""

_EARLIEST_MS = 1
"""Kafka has no time before 1970, and librdkafka takes 0 for "now"."""


def kafka_time_ms(time_ns: int) -> int:
    """Never decreasing with `time_ns`, so a record at or after a time has a timestamp at or after that time's."""
    return max(time_ns // 10**6, _EARLIEST_MS)
