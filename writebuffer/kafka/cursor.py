"""One reading position in one partition, with a consumer of its own while it reads.

The consumer fetches ahead; what it has fetched is in `_ahead`, errors and ends of the partition in their places
among the records, and the cursor moves only by what it reads from there. A seek drops the consumer: an old one would
first sit out the long poll of its fetch. So does a lost connection, since the cluster may have lost records with it: a
new consumer starts at the record that was returned last and has to meet it again. An empty batch is returned only after
the broker named an end that is not above the cursor; in a poll that waits, the consumer's own word for that is enough.
"""

import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import Forked, Misconfigured, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.checks import check_limits
from writebuffer.contract import Batch, SequencedRecord
from writebuffer.errors import Closed, OffsetInFuture, OffsetTrimmed
from writebuffer.kafka import found
from writebuffer.kafka.ahead import Ahead
from writebuffer.kafka.client import ANSWER_S, consumer_settings
from writebuffer.kafka.client_log import ClientLog
from writebuffer.kafka.failures import ABSENT, AWAY, OUT_OF_RANGE, translated
from writebuffer.kafka.times import kafka_time_ms
from writebuffer.kafka.topic import Topic
from writebuffer.waiting import Deadline, bounded_s

_IDLE_AGE_S = 5.0
"""How old the topic's identity may be while nothing comes. A broker that has gone is noticed before, by its
connection; one that hangs only by this question."""
_REMAKE_S = 0.01
"""How old it may be when records have come since. No cluster deletes a topic, makes it again and takes a record in so
short a time, so that nothing of another topic is ever returned."""
_SLICE_S = 0.2
"""A waiting poll looks up as often: whether its reader was closed, whether the topic is still the same."""
_TICK_S = 0.001
"""librdkafka counts in whole milliseconds: a wait of less would be none, and the loop would spin."""
_TRUSTED_WAIT_S = 0.05
"""In a poll shorter than that the consumer may not have heard yet of a record that was just acknowledged."""
_CHUNK_RECORDS = 500
_WALK = (1000, 16 * 2**20)


class KafkaCursor:
    """Implements Cursor and SeekableByTime."""

    def __init__(self, topic: Topic, sequencer: SequencerId, clock: Clock, logger: Logger) -> None:
        self._topic = topic
        self._sequencer = sequencer
        self._clock = clock
        self._log = ClientLog(clock, logger, topic=topic.url.topic, sequencer=sequencer)
        self._busy = threading.Lock()
        """Held by a call: whoever closes the reader waits until the consumer is not in use."""
        self._closed = False
        self._consumer: Consumer | None = None
        self._ahead = Ahead()
        self._last: SequencedRecord | None = None
        """The record before the cursor, where it was returned."""
        self._unmet = False
        """Whether `_last` is to be met again, before what follows it."""
        self._unverified = False
        """Whether something was fetched since the topic's identity was looked at."""
        self._end_seen = -1
        self._offset = topic.offsets(sequencer).first_offset

    def seek(self, offset: Offset) -> None:
        """Asks the broker. Raises OffsetTrimmed, OffsetInFuture, Unavailable, Forked."""
        with self._busy:
            self._check_open()
            now = self._topic.offsets(self._sequencer)
            if offset < now.first_offset:
                raise OffsetTrimmed(self._sequencer, offset, now.first_offset)
            if offset > now.next_offset:
                next_offset = self._topic.next_offset_from(self._sequencer, offset)
                if offset > next_offset:
                    raise OffsetInFuture(self._sequencer, offset, next_offset)
            self._move_to(offset)

    def seek_to_first(self) -> None:
        with self._busy:
            self._check_open()
            self._move_to(self._topic.offsets(self._sequencer).first_offset)

    def seek_to_next(self) -> None:
        with self._busy:
            self._check_open()
            self._move_to(self._topic.offsets(self._sequencer).next_offset)

    def seek_to_time(self, time_ns: int) -> None:
        """Kafka finds the first record whose millisecond is not below; from there the append times are read.

        After an error the cursor stays where it was.
        """
        with self._busy:
            self._check_open()
            before, last = self._offset, self._last
            try:
                self._move_to(self._offset_at(time_ns))
            except PenstockError:
                self._move_to(before)
                self._last = last
                raise

    def poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        """As the contract says. Raises OffsetTrimmed, Unavailable, DataCorrupt, Forked, Misconfigured."""
        check_limits(max_records, max_bytes)
        timeout_s = bounded_s(timeout_s)
        with self._busy:
            return self._poll(max_records, max_bytes, timeout_s)

    def close(self) -> None:
        """A poll that waits in another thread raises Closed."""
        self._closed = True
        with self._busy:
            self._drop_consumer()

    def _poll(self, max_records: int, max_bytes: int, timeout_s: float) -> Batch:
        deadline = Deadline(timeout_s, self._clock)
        owed = self._offset
        """Up to here the broker has said that there is something: no empty batch below it."""
        while True:
            self._check_open()
            if self._consumer and not self._ahead:
                self._fetch(0)
            self._topic.verify(_REMAKE_S if self._unverified else _IDLE_AGE_S)
            self._unverified = False
            if records := self._take(max_records, max_bytes):
                return Batch(records, self._offset)
            left_s = deadline.left_s()
            if left_s <= 0 and self._offset < owed:
                raise self._unavailable(f"next offset is {owed}, but no record from {self._offset} on has come")
            if left_s <= 0:
                owed = self._offset if self._waited_at_end(timeout_s) else self._next_offset()
                if owed <= self._offset:
                    return Batch((), self._offset)
                deadline = Deadline(ANSWER_S, self._clock)
            self._fetch(min(max(left_s, _TICK_S), _SLICE_S))

    def _take(self, max_records: int, max_bytes: int) -> list[SequencedRecord]:
        """From what was fetched ahead; what lies between the records is met when it is its turn."""
        records: list[SequencedRecord] = []
        while not records:
            if self._unmet and (again := self._ahead.take(1, 1)):
                self._meet_again(again[0])
            if not self._unmet and (records := self._ahead.take(max_records, max_bytes)):
                break
            other = self._ahead.other()
            if other is None:
                return []
            if other.error() is None:
                if self._unmet:
                    raise self._is_another("no record of penstock")
                raise found.no_record(self._topic, self._sequencer, other)
            self._ahead.drop_other()
            self._meet(other)
        self._last = records[-1]
        self._offset = Offset(self._last.offset + 1)
        return records

    def _fetch(self, timeout_s: float) -> None:
        """Wait for what the consumer has, and take over what is there. A trouble of its connection is looked into."""
        consumer = self._consumer or self._start_consumer()
        try:
            messages = consumer.consume(_CHUNK_RECORDS, 0)
            if not messages and (message := consumer.poll(timeout_s)) is not None:
                messages = [message, *consumer.consume(_CHUNK_RECORDS, 0)]
        except (KafkaException, RuntimeError) as error:
            self._drop_consumer()
            raise self._unavailable(f"the consumer failed: {error}") from error
        self._ahead.add(messages)
        self._unverified = bool(messages)
        if self._log.take_trouble():
            if self._last and (messages or not self._unmet):
                self._drop_consumer()
            self._topic.verify(0)
        elif messages:
            self._log.answered()

    def _meet(self, message: Message) -> None:
        """The end of the partition, or an error, now that it is its turn."""
        error = message.error()
        assert error is not None
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            end = message.offset()
            if end is not None and end >= self._offset:
                if self._unmet:
                    self._look_where_it_is()
                    if self._last:
                        raise self._is_another("nothing")
                    return
                self._end_seen = self._offset = Offset(end)  # past control records too
            return
        self._drop_consumer()
        if code in OUT_OF_RANGE:
            self._look_where_it_is()
        elif code in ABSENT or code in AWAY:
            self._topic.verify(0)
        elif code != KafkaError.GROUP_AUTHORIZATION_FAILED:  # no group is joined
            raise translated(error, f"{self._place}: poll at {self._offset}", sequencer=self._sequencer)

    def _look_where_it_is(self) -> None:
        """Kafka has nothing at the cursor's offset: raises what has become of it, or returns: leaders were changing."""
        self._topic.verify(0)
        now = self._topic.offsets(self._sequencer)
        if self._offset < now.first_offset:
            raise OffsetTrimmed(self._sequencer, self._offset, now.first_offset)
        if now.next_offset < self._offset:
            self._check_not_behind()
        if self._last and self._last.offset < now.first_offset:
            self._last = None
            self._drop_consumer()

    def _meet_again(self, first: SequencedRecord) -> None:
        """The first record of a new consumer. Raises Forked where it is another than was returned there."""
        if first != self._last:
            self._look_where_it_is()
            if self._last:
                raise self._is_another(found.described(first))
        self._unmet = False

    def _next_offset(self) -> Offset:
        next_offset = self._topic.next_offset(self._sequencer)
        if next_offset < self._offset:
            self._topic.verify(0)
            self._check_not_behind()
        return next_offset

    def _check_not_behind(self) -> None:
        next_offset = self._topic.next_offset_from(self._sequencer, self._offset)
        if next_offset < self._offset:
            raise found.end_before(self._topic, self._sequencer, self._offset, next_offset)

    def _waited_at_end(self, timeout_s: float) -> bool:
        return self._end_seen == self._offset and timeout_s >= _TRUSTED_WAIT_S

    def _offset_at(self, time_ns: int) -> Offset:
        first_offset = self._topic.offset_at(self._sequencer, kafka_time_ms(time_ns))
        if first_offset is None:
            return self._topic.next_offset(self._sequencer)
        self._move_to(first_offset)
        while records := self._poll(*_WALK, 0).records:
            for one in records:
                if one.record.append_time_ns >= time_ns:
                    return one.offset
        return self._offset

    def _start_consumer(self) -> Consumer:
        start = self._last.offset if self._last else self._offset
        try:
            consumer = Consumer(consumer_settings(self._topic.url, self._log))
            consumer.assign([TopicPartition(self._topic.url.topic, self._sequencer, start)])
        except KafkaException as error:
            raise Misconfigured(f"{self._place}: librdkafka refuses the consumer's settings: {error}") from error
        self._consumer, self._unmet = consumer, self._last is not None
        return consumer

    def _move_to(self, offset: Offset) -> None:
        self._drop_consumer()
        if self._last and offset != self._last.offset + 1:
            self._last = None
        self._offset = offset

    def _drop_consumer(self) -> None:
        self._ahead.clear()
        self._end_seen = -1
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _check_open(self) -> None:
        if self._closed or self._topic.closed.done():
            self._drop_consumer()
            raise Closed(f"{self._place}: the cursor or its reader was closed")

    @property
    def _place(self) -> str:
        return self._topic.place(self._sequencer)

    def _is_another(self, found_there: str) -> Forked:
        assert self._last is not None
        return found.another(self._topic, self._sequencer, self._last, found_there)

    def _unavailable(self, what: str) -> Unavailable:
        return Unavailable(f"{self._place}: {what}", sequencer=self._sequencer)
