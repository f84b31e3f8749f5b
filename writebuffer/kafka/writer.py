"""The Kafka backend's Writer: one idempotent producer, and the thread that takes its delivery reports.

An append is handed to librdkafka at the call, for the partition that is its sequencer; the idempotent producer keeps
the order of what it delivers over all its retries. The thread sleeps while nothing is under way. While something is, it
makes sure every second that the topic is still the one that was opened, before it acknowledges anything.

A report of failure never says `written: no`: a message may have reached the broker although its answer did not come.
What ends the producer (librdkafka's fatal errors: the broker has lost records of it, or forgot it) ends the thread, and
every call with it: another producer could not know what became of the first one's messages.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from common.clock import Clock
from common.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable, Written
from common.ids import Offset, SequencerId
from common.logs import Logger
from writebuffer.checks import check_append
from writebuffer.contract import Appended, AppendedRange
from writebuffer.errors import Closed, WriterDied
from writebuffer.kafka.client import ABSENT, ClientLog, translated
from writebuffer.kafka.delivery import Delivery
from writebuffer.kafka.times import kafka_time_ms
from writebuffer.kafka.topic import Topic
from writebuffer.record import Record

_VERIFY_AGE_S = 1.0
_IDLE_S = 1.0
"""An idle thread looks up as often, for librdkafka's log lines."""
_SLICE_S = 0.1
_CLOSE_S = 30.0
_PURGE_S = 5.0


class KafkaWriter:
    """Implements Writer and Durable. Any number of writers may append to a topic."""

    def __init__(
        self, topic: Topic, producer: Producer, log: ClientLog, durability: str, clock: Clock, logger: Logger
    ) -> None:
        self._topic = topic
        self._producer = producer
        self._log = log
        self._durability = durability
        self._clock = clock
        self._logger = logger
        self._under_way: set[Delivery] = set()
        self._newest: dict[SequencerId, Offset] = {}
        self._wake = threading.Event()
        self._closed = False
        self._ended: Callable[[Written], PenstockError] | None = None
        self._break: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"kafka-{topic.url.topic}", daemon=True)
        self._thread.start()

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(self._topic.found.partitions)]

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        """As the contract says. Where 256 MiB wait for the broker (queue.buffering.max.kbytes), the future fails."""
        return self._send(sequencer, (record,), single=True)

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        """As append. Waits for the reports of all its records, also after one has failed."""
        return self._send(sequencer, list(records), single=False)

    def flush(self, timeout_s: float) -> None:
        self._check_open()
        futures = [delivery.future for delivery in self._under_way.copy()]
        late = wait(futures, timeout_s).not_done
        if late:
            raise Unavailable(
                f"{self._topic.url.shown}: {len(late)} appends did not finish in {timeout_s} s", written="unknown"
            )

    def close(self) -> None:
        """Waits 30 s for what is under way, then gives it up: it fails as `written: unknown`, and may still stand."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            self._producer.purge()
            self._thread.join(_PURGE_S)
        with suppress(InvalidStateError):
            self._topic.closed.set_result(None)
        self._end(self._closed_error)
        if not self._thread.is_alive():
            del self._producer  # ends its connections and threads

    def durability(self) -> str:
        return self._durability

    def die_of(self, cause: Exception) -> None:
        """The thread dies of `cause` at its next step: for the proof of what happens then."""
        self._break = cause
        self._wake.set()

    def _send(self, sequencer: SequencerId, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        self._check_open()
        check_append(sequencer, self._topic.found.partitions, records)
        delivery = Delivery(sequencer, records, self._settle, single=single)
        self._under_way.add(delivery)
        if self._has_ended(delivery, "no"):
            return delivery.future
        self._hand_over(delivery, records)
        if self._has_ended(delivery, "unknown"):  # meanwhile; the thread may not have seen this one
            return delivery.future
        if not self._wake.is_set():
            self._wake.set()
        return delivery.future

    def _has_ended(self, delivery: Delivery, written: Written) -> bool:
        if self._ended is None:
            return False
        self._under_way.discard(delivery)
        delivery.fails(self._ended(written))
        return True

    def _hand_over(self, delivery: Delivery, records: Sequence[Record]) -> None:
        topic, sequencer, sent = self._topic.url.topic, delivery.sequencer, 0
        produce, reported = self._producer.produce, delivery.reported
        try:
            for record in records:
                time_ms = kafka_time_ms(record.append_time_ns)
                produce(topic, record.to_bytes(), partition=sequencer, timestamp=time_ms, on_delivery=reported)
                sent += 1
        except BufferError:
            what = f"{self._place(sequencer)}: the local queue is full, the broker does not keep up; retry later"
            delivery.stop(sent, Unavailable(what, written="unknown" if sent else "no", sequencer=sequencer))
        except KafkaException as error:
            delivery.stop(sent, self._failed(delivery, error.args[0], "unknown" if sent else "no"))

    def _run(self) -> None:
        try:
            while self._under_way or not self._closed:
                self._step()
            self._end(self._closed_error)
        except BaseException as error:
            cause = error
            self._end(lambda written: self._died(cause, written))
            self._producer.purge()
            self._logger.error("the writer's thread died", topic=self._topic.url.topic, exc_info=error)

    def _step(self) -> None:
        self._wake.clear()
        if not self._under_way and not self._closed and not self._break:
            self._wake.wait(_IDLE_S)
        if self._break:
            raise self._break
        if self._under_way:
            self._verify()
        self._producer.poll(_SLICE_S if self._under_way else 0)
        trouble = self._log.take_trouble()
        if trouble and trouble.fatal():
            raise KafkaException(trouble)

    def _verify(self) -> None:
        try:
            self._topic.verify(_VERIFY_AGE_S)
        except (Unavailable, Misconfigured):
            return  # whoever waits hears it by the reports

    def _settle(self, delivery: Delivery, last: Offset | None, failure: KafkaError | PenstockError | None) -> None:
        """On the thread, or for what was not handed over whole on the caller's."""
        self._under_way.discard(delivery)
        if failure is None and last is not None:
            failure = self._misplaced(delivery, last)
            if isinstance(failure, Forked):
                self._break = failure
        if failure is None:
            delivery.stands()
        elif isinstance(failure, PenstockError):
            delivery.fails(failure)
        else:
            delivery.fails(self._failed(delivery, failure, "unknown"))

    def _misplaced(self, delivery: Delivery, last: Offset) -> PenstockError | None:
        sequencer = delivery.sequencer
        if last < 0:
            what = f"{self._place(sequencer)}: the record stands, but the broker no longer knows at which offset"
            return Unavailable(what, written="unknown", sequencer=sequencer)
        newest = self._newest.get(sequencer, Offset(-1))
        if last <= newest:
            return Forked(
                f"{self._place(sequencer)}: a record was given offset {last}, after an earlier one had {newest}: the "
                "topic was made again, or the cluster has lost acknowledged records; replay into a new store",
                sequencer=sequencer,
                offset=last,
                newest=newest,
            )
        self._newest[sequencer] = last
        return None

    def _failed(self, delivery: Delivery, error: KafkaError, written: Written) -> PenstockError:
        what = f"{self._place(delivery.sequencer)}: append"
        if error.code() in ABSENT:
            return Forked(f"{what}: the topic is there no more: {error.str()}", sequencer=delivery.sequencer)
        return translated(self._log.explain(error), what, written=written, sequencer=delivery.sequencer)

    def _end(self, error: Callable[[Written], PenstockError]) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""
        if self._ended is None:
            self._ended = error
        for delivery in self._under_way.copy():
            self._under_way.discard(delivery)
            delivery.fails(error(delivery.written()))

    def _died(self, cause: BaseException, written: Written) -> PenstockError:
        if isinstance(cause, DataCorrupt | Forked):
            return cause
        shown = self._topic.url.shown
        died = WriterDied(f"{shown}: the writer's thread died of {cause!r}; restart the process", written=written)
        died.__cause__ = cause
        return died

    def _closed_error(self, written: Written) -> PenstockError:
        return Unavailable(f"{self._topic.url.shown}: the writer was closed", written=written)

    def _place(self, sequencer: SequencerId) -> str:
        return self._topic.place(sequencer)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._topic.url.shown}: the writer was closed")
