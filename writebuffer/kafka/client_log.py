"""Where one client's log lines and troubles go: to penstock's log, and into the message of what fails by them.

librdkafka tries again by itself, so that none of its lines is more than a warning here; what fails in the end is an
error where it is handled. An outage is logged once a minute at most, however often librdkafka reports it, and its end.
"""

import logging
import threading

from confluent_kafka import KafkaError

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import PenstockError, Unavailable, Written
from writebuffer.kafka.failures import LATE, translated

_REPORTED_EVERY_S = 60.0
_FRESH_S = 30.0
"""What is older explains no time-out."""


class ClientLog:
    """Safe to use from any thread: librdkafka's own call it too."""

    def __init__(self, clock: Clock, logger: Logger, **bound: object) -> None:
        self._clock = clock
        self._logger = logger
        self._bound = bound
        self._lock = threading.Lock()
        self._reported_s: float | None = None
        self._untold = 0
        self._out = False
        """Whether an outage was logged whose end was not."""
        self._last: tuple[KafkaError, float] | None = None
        self.troubled = False
        """Whether something has come that `take_trouble` did not take yet."""
        self._answered = False
        self.fatal: KafkaError | None = None
        """What ended the client for good, once something has."""

    def log(self, level: int, text: str, *values: object) -> None:
        """What confluent_kafka calls with each line, as logging.Logger has it."""
        line = text % values if values else text
        if "CONFWARN" in line:  # a consumer's property in a producer, and the other way round
            return
        if line.startswith("FAIL"):  # an idle connection's end comes as a line only
            self.troubled = True
        if level < logging.ERROR:
            self._logger.debug("librdkafka", line=line, **self._bound)
        elif (untold := self._due()) is not None:
            more = {"untold": untold} if untold else {}
            self._logger.warning("librdkafka", line=line, **more, **self._bound)

    def trouble(self, error: KafkaError) -> None:
        """What confluent_kafka calls when a client has lost a broker, is refused, or is at its end."""
        with self._lock:
            self._last, self.troubled = (error, self._clock.monotonic_s()), True
            if error.fatal() and self.fatal is None:
                self.fatal = error

    def take_trouble(self) -> bool:
        """Whether one has come since the last call."""
        with self._lock:
            troubled, self.troubled = self.troubled, False
            return troubled

    def answered(self) -> None:
        """A broker has answered: an outage that was logged is over. Cheap, where there was none."""
        if self._answered and not self._out:
            return
        with self._lock:
            self._answered = True
            out, self._out = self._out, False
            untold, self._untold = self._untold, 0
        if out:
            self._logger.info("the broker answers again", untold=untold, **self._bound)

    def failure(self, error: KafkaError, what: str, *, written: Written = "no", **details: object) -> PenstockError:
        """`translated`, with the trouble that explains a time-out. That only says why, and asks nobody to act.

        Unless no broker has ever answered this client: then it is the settings that keep it out.
        """
        with self._lock:
            trouble, since_s = self._last or (None, 0.0)
            if error.code() not in LATE or trouble is None or self._clock.monotonic_s() - since_s > _FRESH_S:
                return translated(error, what, written=written, **details)
            if not self._answered:
                return translated(trouble, what, written=written, **details)
            reason = f"{error.str() or error.name()} ({trouble.str() or trouble.name()})"
            return Unavailable(f"{what}: {reason}", written=written, **details)

    def _due(self) -> int | None:
        """How many lines were left out since the last that was logged, where one is due; None where it is not."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._reported_s is not None and now_s - self._reported_s < _REPORTED_EVERY_S:
                self._untold += 1
                return None
            untold, self._untold = self._untold, 0
            self._reported_s, self._out = now_s, True
            return untold
