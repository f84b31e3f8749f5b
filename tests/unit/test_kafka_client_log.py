"""What one librdkafka client has to say: logged without a flood, and only while it explains anything."""

import logging
from typing import Any

import structlog
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from common.values.clock import FakeClock
from common.values.errors import Misconfigured, PenstockError, Unavailable
from writebuffer.kafka.client_log import ClientLog

TIME_OUT = KafkaError(KafkaError._TIMED_OUT)
WRONG_PASSWORD = KafkaError(KafkaError._AUTHENTICATION, "authentication failed")
REFUSED = KafkaError(KafkaError._TRANSPORT, "Connection refused")


def made() -> tuple[ClientLog, FakeClock]:
    clock = FakeClock()
    return ClientLog(clock, structlog.get_logger()), clock


def failure(log: ClientLog, error: KafkaError = TIME_OUT) -> PenstockError:
    return log.failure(error, "the question", written="unknown")


def test_an_outage_is_logged_once_a_minute_and_its_end_once() -> None:
    """Two lines a second for three minutes: one at once, one each minute with the number left out, one at the end."""
    log, clock = made()
    log.answered()
    with capture_logs() as lines:
        for _ in range(360):
            log.log(logging.ERROR, "%s: Connection refused", "host")
            clock.advance(0.5)
        log.answered()
        log.answered()
    logged = [(line["log_level"], line["event"], line.get("untold", 0)) for line in lines]
    assert logged == [
        ("warning", "librdkafka", 0),
        ("warning", "librdkafka", 119),
        ("warning", "librdkafka", 119),
        ("info", "the broker answers again", 119),
    ]


def test_a_broker_that_comes_and_goes_is_no_flood_either() -> None:
    """An outage within a minute of one that was logged is counted, and its end not logged."""
    log, clock = made()
    with capture_logs() as lines:
        for _ in range(100):
            log.log(logging.ERROR, "lost")
            log.answered()
            clock.advance(1)
    assert len(lines) == 4


def test_what_is_no_trouble_is_for_debugging_only() -> None:
    """And a property that only other clients know is no line at all."""
    log, _ = made()
    with capture_logs() as lines:
        log.log(logging.WARNING, "retrying")
        log.log(logging.WARNING, "CONFWARN: linger.ms is a producer property")
    assert [line["log_level"] for line in lines] == ["debug"]


def test_a_time_out_has_the_reason_of_a_fresh_trouble() -> None:
    """That of a message too; an old trouble explains nothing."""
    log, clock = made()
    log.answered()
    log.trouble(REFUSED)
    assert "Connection refused" in failure(log).message
    assert "Connection refused" in failure(log, KafkaError(KafkaError._MSG_TIMED_OUT)).message
    clock.advance(31)
    assert "Connection refused" not in failure(log).message


def test_a_time_out_stays_one_with_any_cause() -> None:
    """A client that a broker has answered before is not misconfigured: its caller tries again."""
    log, _ = made()
    log.answered()
    log.trouble(WRONG_PASSWORD)
    error = failure(log)
    assert isinstance(error, Unavailable)
    assert error.written == "unknown"
    assert "authentication failed" in error.message


def test_a_client_that_was_never_let_in_is_misconfigured() -> None:
    """No broker has ever answered it, and the trouble says which setting is wrong."""
    log, _ = made()
    log.trouble(WRONG_PASSWORD)
    error: Any = failure(log)
    assert isinstance(error, Misconfigured)
    assert "sasl.password" in error.message


def test_a_fatal_error_stays() -> None:
    """With any trouble after it."""
    log, _ = made()
    log.trouble(KafkaError(KafkaError._FATAL, "forgotten", True))
    log.trouble(REFUSED)
    assert log.fatal is not None
    assert log.fatal.str() == "forgotten"
    assert log.take_trouble()
    assert not log.take_trouble()
