"""The Kafka backend's Writer: one idempotent producer, and the thread that reads its delivery reports.

An append is handed to librdkafka at the call, for the partition that is its sequencer; the idempotent producer keeps
the order of what it delivers over all its retries. The thread sleeps while nothing is under way. Reports are always
read; what they acknowledge is held while it is not sure that the topic is still the same (watch.py).

A report of failure never says `written: no`: a message may have reached the broker although its answer did not come.
What ends the producer (librdkafka's fatal errors: the broker has lost records of it, or forgot it) ends the thread, and
every call with it: another producer could not know what became of the first one's messages.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable, Written
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_append
from writebuffer.contract import Appended, AppendedRange
from writebuffer.errors import Closed, WriterDied
from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.delivery import Delivery, Places
from writebuffer.kafka.failures import ABSENT
from writebuffer.kafka.times import kafka_time_ms
from writebuffer.kafka.topic import ASKED_AGE_S, Topic
from writebuffer.kafka.watch import Watch
from writebuffer.record import Record
from writebuffer.waiting import CLOSE_S, await_appends

_IDLE_S = 1.0
"""An idle thread looks up as often, for librdkafka's log lines."""
_SLICE_S = 0.1
_HELD_SLICE_S = 0.02
_HELD_S_MAX = 30.0
"""So long after a lost connection acknowledgements are held, until the cluster says whether it lost records."""
_PURGE_S = 5.0


class KafkaWriter:
    """Implements Writer and Durable. Any number of writers may append to a topic."""

    def __init__(
        self,
        topic: Topic,
        producer: Producer,
        watch: Watch,
        log: ClientLog,
        durability: str,
        clock: Clock,
        logger: Logger,
    ) -> None:
        self._topic = topic
        self._producer: Producer | None = producer
        self._watch = watch
        self._log = log
        self._durability = durability
        self._clock = clock
        self._logger = logger
        self._places = [Places() for _ in range(topic.found.partitions)]
        self._under_way: set[Delivery] = set()
        self._held: list[tuple[Delivery, Offset]] = []
        self._held_s = 0.0
        self._sure = False
        """Whether what a report acknowledges may be acknowledged at once."""
        self._heard = False
        self._wake = threading.Event()
        self._closed = False
        self._ended: Callable[[Written], PenstockError] | None = None
        self._break: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(producer,), name=f"kafka-{topic.url.topic}", daemon=True
        )
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
        await_appends([delivery.future for delivery in self._under_way.copy()], timeout_s, self._topic.url.shown)

    def close(self) -> None:
        """Waits 30 s for what is under way, then gives it up: it fails as `written: unknown`, and may still exist."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive() and (producer := self._producer):
            producer.purge()
            self._thread.join(_PURGE_S)
        self._topic.close()
        self._end(self._closed_error)
        self._producer = None  # with the last one that uses it, its connections and threads end

    def durability(self) -> str:
        return self._durability

    def die_of(self, cause: Exception) -> None:
        """The thread dies of `cause` at its next step: for the proof of what happens then."""
        self._break = cause
        self._wake.set()

    def _send(self, sequencer: SequencerId, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        self._check_open()
        check_append(sequencer, self._topic.found.partitions, records)
        delivery = Delivery(sequencer, self._places[sequencer], records, self._settle, single=single)
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
        delivery.fail(self._ended(written))
        return True

    def _hand_over(self, delivery: Delivery, records: Sequence[Record]) -> None:
        producer = self._producer
        if producer is None:  # closed meanwhile
            delivery.stop(0, self._closed_error("no"))
            return
        topic, sequencer, sent = self._topic.url.topic, delivery.sequencer, 0
        produce, reported = producer.produce, delivery.reported
        try:
            for record in records:
                time_ms = kafka_time_ms(record.append_time_ns)
                produce(topic, record.to_bytes(), partition=sequencer, timestamp=time_ms, on_delivery=reported)
                sent += 1
        except BufferError:
            what = f"{self._place(delivery)}: the local queue is full, the broker does not keep up; retry later"
            delivery.stop(sent, Unavailable(what, written="unknown" if sent else "no", sequencer=sequencer))
        except KafkaException as error:
            delivery.stop(sent, self._failed(delivery, error.args[0], "unknown" if sent else "no"))

    def _run(self, producer: Producer) -> None:
        try:
            while self._under_way or not self._closed:
                self._step(producer)
            self._end(self._closed_error)
        except BaseException as error:
            cause = error
            self._end(lambda written: self._died(cause, written))
            producer.purge()
            self._logger.error("the writer's thread died", topic=self._topic.url.topic, exc_info=error)

    def _step(self, producer: Producer) -> None:
        self._wake.clear()
        if not self._under_way and not self._closed and not self._break:
            self._wake.wait(_IDLE_S)
        if self._break:
            raise self._break
        waited_for = bool(self._under_way)
        self._sure = waited_for and self._watch.is_sure()
        if self._held:
            self._release()
        slice_s = _SLICE_S if self._sure else _HELD_SLICE_S
        producer.poll(slice_s if waited_for else 0)
        if self._heard:
            self._heard = False
            self._log.answered()
        if self._log.take_trouble():
            self._watch.doubt()
        if fatal := self._log.fatal:
            raise KafkaException(fatal)

    def _settle(self, delivery: Delivery, last: Offset | None, failure: KafkaError | PenstockError | None) -> None:
        """On the thread, or for what was not handed over whole on the caller's."""
        if failure is not None:
            self._fail(delivery, failure)
            return
        self._heard = True
        if last is None:
            what = f"{self._place(delivery)}: the record exists, but the broker no longer knows at which offset"
            self._fail(delivery, Unavailable(what, written="unknown", sequencer=delivery.sequencer))
        elif self._sure and not self._held and not self._log.troubled:
            self._acknowledge(delivery, last)
        else:
            self._held_s = self._held_s if self._held else self._clock.monotonic_s()
            self._held.append((delivery, last))

    def _acknowledge(self, delivery: Delivery, last: Offset) -> None:
        try:
            self._watch.acknowledge(delivery.sequencer, last, delivery.newest())
        except Forked as error:
            self._break = error
            delivery.fail(error)
        else:
            delivery.resolve()
        self._under_way.discard(delivery)  # now, so that a flush has waited for its future

    def _release(self) -> None:
        """Acknowledge what was held, or fail it where it was held for too long."""
        if not self._sure and self._clock.monotonic_s() - self._held_s < _HELD_S_MAX:
            return
        held, self._held = self._held, []
        for delivery, last in held:
            if self._sure:
                self._acknowledge(delivery, last)
            else:
                what = f"{self._place(delivery)}: a connection was lost, and whether the cluster lost records with it "
                what += f"could not be made sure of for {_HELD_S_MAX:g} s"
                self._fail(delivery, Unavailable(what, written="unknown", sequencer=delivery.sequencer))

    def _fail(self, delivery: Delivery, failure: KafkaError | PenstockError) -> None:
        delivery.fail(failure if isinstance(failure, PenstockError) else self._failed(delivery, failure, "unknown"))
        self._under_way.discard(delivery)

    def _failed(self, delivery: Delivery, error: KafkaError, written: Written) -> PenstockError:
        """What one append meets asks no operator to stop the process: Misconfigured is Unavailable with its advice."""
        what = f"{self._place(delivery)}: append"
        if error.code() in ABSENT:
            return self._absent(f"{what}: {error.str()}", written)
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._break = self._break or KafkaException(self._log.fatal or error)
            self._wake.set()
            return self._died(self._break, written)
        failure = self._log.failure(error, what, written=written, sequencer=delivery.sequencer)
        if isinstance(failure, Misconfigured):
            return Unavailable(failure.message, written=written, sequencer=delivery.sequencer)
        return failure

    def _absent(self, what: str, written: Written) -> PenstockError:
        """One broker does not know the topic: it is deleted only if the cluster says so, which is waited for."""
        try:
            self._topic.verify(ASKED_AGE_S)
        except Forked as error:
            return error
        except PenstockError as error:
            what = f"{what}; {error.message}"
        return Unavailable(f"{what}; one broker does not know the topic, try again", written=written)

    def _end(self, error: Callable[[Written], PenstockError]) -> None:
        """Fail what is pending, and what comes later; the first reason stays."""
        if self._ended is None:
            self._ended = error
        for delivery in self._under_way.copy():
            self._under_way.discard(delivery)
            delivery.fail(error(delivery.written()))

    def _died(self, cause: BaseException, written: Written) -> PenstockError:
        if isinstance(cause, DataCorrupt | Forked):
            return cause
        shown = self._topic.url.shown
        died = WriterDied(f"{shown}: the writer's thread died of {cause!r}; restart the process", written=written)
        died.__cause__ = cause
        return died

    def _closed_error(self, written: Written) -> PenstockError:
        return Unavailable(f"{self._topic.url.shown}: the writer was closed", written=written)

    def _place(self, delivery: Delivery) -> str:
        return self._topic.place(delivery.sequencer)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._topic.url.shown}: the writer was closed")
