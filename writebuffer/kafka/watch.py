"""Whether what a writer writes to is still what it was: asked beside, so that a broker that hangs delays no report.

An acknowledgement is given only while the topic was seen to be the same one within the last second; and, once a
connection was lost, only after the newest acknowledged record of each sequencer was found at its offset. A cluster
that lost acknowledged records in between (a disk put back, an unclean election) is Forked.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait

from common.logs import Logger
from common.values.clock import Clock
from common.values.errors import DataCorrupt, Forked, Misconfigured, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from writebuffer.contract import SequencedRecord
from writebuffer.errors import OffsetInFuture, OffsetTrimmed
from writebuffer.kafka import found
from writebuffer.kafka.cursor import KafkaCursor
from writebuffer.kafka.topic import Topic
from writebuffer.record import Record

_AGE_S = 1.0
_PATIENCE_S = 1.0
"""So long acknowledgements wait for the topic's id; then they are given without. After a lost connection they wait."""
_GLANCE_S = 0.02
_PAUSE_S = 0.1
"""Before a question that was not answered is asked again."""


class Watch:
    """Used by one thread; the questions run on threads of their own, one at a time, each ending within some seconds."""

    def __init__(self, topic: Topic, newest: dict[SequencerId, Offset], clock: Clock, logger: Logger) -> None:
        """newest: of each sequencer at the opening."""
        self._topic = topic
        self._newest = newest
        self._acknowledged: dict[SequencerId, Record] = {}
        """The records at them, once one was acknowledged."""
        self._clock = clock
        self._logger = logger
        self._asked: Future[None] | None = None
        self._asked_s = 0.0
        self._asked_doubts = 0
        """How many of them the question that is under way will have cleared up."""
        self._sure_s = clock.monotonic_s()
        self._unsure_s: float | None = None
        """Since when a question about the topic's id has had no answer."""
        self._doubts = 0
        """Lost connections that are not cleared up."""
        self._unreadable_logged = False

    def is_sure(self) -> bool:
        """Asks where it is time to; glances at the answer. Raises Forked."""
        if self._asked is None:
            self._ask_if_due()
        if self._asked is not None:
            wait([self._asked], _GLANCE_S)
            if self._asked.done():
                self._take_answer(self._asked)
        if self._doubts:
            return False
        return self._unsure_s is None or self._clock.monotonic_s() - self._unsure_s > _PATIENCE_S

    def doubt(self) -> None:
        """A connection was lost: what was acknowledged may be lost too."""
        self._doubts += 1

    def acknowledge(self, sequencer: SequencerId, offset: Offset, record: Record) -> None:
        """`record` is about to be acknowledged at `offset`. Raises Forked where that cannot be."""
        newest = self._newest[sequencer]
        if offset <= newest:
            raise found.offset_went_back(self._topic, sequencer, offset, newest)
        self._newest[sequencer] = offset
        self._acknowledged[sequencer] = record

    def _ask_if_due(self) -> None:
        now_s = self._clock.monotonic_s()
        if not self._doubts and now_s - self._sure_s < _AGE_S:
            return
        if self._unsure_s is None:
            self._unsure_s = now_s
        elif now_s - self._asked_s < _PAUSE_S:
            return
        self._asked, self._asked_s, self._asked_doubts = Future(), now_s, self._doubts
        acknowledged: dict[SequencerId, SequencedRecord] = {}
        if self._doubts:
            acknowledged = {
                sequencer: SequencedRecord(self._newest[sequencer], one)
                for sequencer, one in self._acknowledged.items()
            }
        threading.Thread(target=self._look, args=(self._asked, acknowledged), name="kafka-watch", daemon=True).start()

    def _take_answer(self, asked: "Future[None]") -> None:
        self._asked = None
        error = asked.exception()
        if error is not None and (isinstance(error, Forked) or not isinstance(error, PenstockError)):
            raise error
        if error is None:
            self._sure_s, self._unsure_s = self._asked_s, None
            self._doubts -= self._asked_doubts

    def _look(self, answer: "Future[None]", acknowledged: Mapping[SequencerId, SequencedRecord]) -> None:
        try:
            self._topic.verify(0)
            for sequencer, newest in acknowledged.items():
                self._compare(sequencer, newest)
            answer.set_result(None)
        except BaseException as error:  # noqa: BLE001  the writer's thread hears it
            answer.set_exception(error)

    def _compare(self, sequencer: SequencerId, newest: SequencedRecord) -> None:
        """Raises Forked where it is not there, though it was not trimmed."""
        offset = newest.offset
        next_offset = self._topic.written_offset_from(sequencer, Offset(offset + 1))
        if next_offset <= offset:
            raise found.another(self._topic, sequencer, newest, f"nothing, next offset is {next_offset}")
        cursor = KafkaCursor(self._topic, sequencer, self._clock, self._logger)
        try:
            cursor.seek(offset)
            records = cursor.poll(1, 1, 0).records
        except OffsetTrimmed:
            return
        except DataCorrupt as error:
            raise found.another(self._topic, sequencer, newest, error.message) from error
        except OffsetInFuture:
            records = ()
        except Misconfigured as error:
            self._say_unreadable(error)
            return
        finally:
            cursor.close()
        if not records:
            raise Unavailable(f"{self._topic.place(sequencer)}: an open transaction hides offset {offset}")
        if records[0] != newest and self._topic.offsets(sequencer).first_offset <= offset:
            raise found.another(self._topic, sequencer, newest, found.described(records[0]))

    def _say_unreadable(self, error: PenstockError) -> None:
        if not self._unreadable_logged:
            self._unreadable_logged = True
            self._logger.warning("a writer without the right to read cannot see lost records", reason=error.message)
