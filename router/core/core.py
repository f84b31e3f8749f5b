"""The router's decisions, without I/O: what to admit, to parse together and to append, and what became of requests.

A driver feeds events (events.py) to `step` and performs the actions it returns, in their order. One batch goes
    collect -> Parse -> [Settle] -> Append to each sequencer -> Respond
and is parsed again where its parser lacked schemas that are known here, or where the store settled other types or has
no room for a new table.
Invariants. A request is answered exactly once, and at the latest when it expires, however far its batch has come. 204
only after every sequencer that holds a line of it is durable, unless the request said no_sync. Nothing of a request is
appended before all its columns are settled, and nothing once it has expired. The records of one sequencer get their
producer sequences in the order in which their appends are asked for. A body's bytes count until its batch's last append
has resolved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from common.values.errors import DataCorrupt, Fenced, Forked, PenstockError, Unavailable
from common.values.ids import SequencerId
from router.core.admission import Admission
from router.core.events import (
    Action,
    Append,
    AppendDone,
    AppendFailed,
    Arrived,
    Cancel,
    Event,
    Expired,
    Finished,
    Halt,
    Linger,
    Lingered,
    Parse,
    Parsed,
    ParseFailed,
    Respond,
    Settle,
    Settled,
    SettleFailed,
    Stop,
    Stopped,
    WriteRequest,
)
from router.core.in_flight import Batch, Waiting
from router.core.news import News
from router.core.outcome import Overloaded, Retry, Stored
from router.core.queue import Queue
from router.parsing.messages import ParsedBatch
from router.parsing.schemas import KnownSchemas, Schemas, agree
from router.parsing.time_bounds import NO_TIME_LIMITS, TimeLimits
from writebuffer.errors import WriterDied
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

SMALL_BYTES = 128 * 1024
"""A batch of devops lines of this size takes a worker about twice as long as one of a single small body."""

_HALTING = (Fenced, Forked, DataCorrupt, WriterDied)
"""Errors of an append that end this process, because no later append would succeed in it: another process holds the
buffer, its history is another one, its bytes are damaged, or its thread is gone.
"""


class RouterCore:
    """For one thread. `step` returns at once, however much is in flight."""

    def __init__(
        self,
        producer_id: bytes,
        admission: Admission,
        batch_bytes_max: int,
        *,
        parse_slots: int = 1,
        time_limits: TimeLimits = NO_TIME_LIMITS,
    ) -> None:
        """producer_id: 16 bytes, new at each start. parse_slots: parsers, each with one batch at a time."""
        self._producer_id = producer_id
        self._admission = admission
        self._batch_bytes_max = batch_bytes_max
        self._time_limits = time_limits
        self._parses = [0] * parse_slots
        """Under way, by slot: one, or one more where a batch has to be parsed again."""
        self._schemas = KnownSchemas()
        self._news = News()
        self._queue = Queue()
        self._batches: dict[int, Batch] = {}
        self._batches_begun = 0
        self._sequences: dict[SequencerId, int] = {}
        self._stopping = False
        self._is_lingering = False

    def step(self, event: Event, now_ns: int) -> Sequence[Action]:
        """The actions that follow from `event`. now_ns: wall clock."""
        match event:
            case Arrived(request_id, request):
                return self._arrived(request_id, request, now_ns)
            case Stop():
                self._stopping = True
                return self._stopped_if_idle()
            case Parsed(batch_id, result):
                batch = self._batches[batch_id]
                self._parses[batch.slot] -= 1
                return [*self._parsed(batch, result, now_ns), *self._begin_batches()]
            case ParseFailed(batch_id, error, parser_died):
                batch = self._batches[batch_id]
                self._parses[batch.slot] -= 1
                return [*self._parse_failed(batch, error, parser_died), *self._begin_batches()]
            case Settled(batch_id, schemas, refused):
                return self._settled(self._batches[batch_id], schemas, refused, now_ns)
            case SettleFailed(batch_id, error, schemas):
                return self._settle_failed(self._batches[batch_id], error, schemas)
            case AppendDone(batch_id, sequencer, last_offset):
                batch = self._batches[batch_id]
                batch.last_offsets[sequencer] = last_offset
                return self._resolved(batch, sequencer)
            case AppendFailed(batch_id, sequencer, error):
                batch = self._batches[batch_id]
                batch.failures[sequencer] = error
                halt = [Halt(error)] if isinstance(error, _HALTING) else []
                return [*halt, *self._resolved(batch, sequencer)]
            case Expired(request_id, reason):
                return self._expired(request_id, reason)
            case Lingered():
                self._is_lingering = False
                return self._begin_batches(lingered=True)

    def _arrived(self, request_id: int, request: WriteRequest, now_ns: int) -> Sequence[Action]:
        if self._stopping:
            self._admission.release(request.client, len(request.body))
            return [Respond(request_id, Overloaded("this router is stopping: send again"))]
        if not request.body:
            return [Respond(request_id, Stored())]
        times = self._time_limits.around(now_ns)
        self._queue.add(Waiting(request_id, request, now_ns, times))
        return self._begin_batches()

    def _expired(self, request_id: int, reason: str) -> Sequence[Action]:
        if one := self._queue.remove(request_id):
            self._admission.release(one.request.client, len(one.request.body))
            return [_given_up(request_id, reason, is_appended=False), *self._stopped_if_idle()]
        for batch in self._batches.values():
            if batch.waiting.pop(request_id, None):
                cancel = [Cancel(batch.batch_id)] if batch.is_given_up else []
                return [_given_up(request_id, reason, batch.is_appended), *cancel]
        return []

    def _begin_batches(self, *, lingered: bool = False) -> list[Action]:
        """Give the idle parsers work. While none is idle, bodies collect; with little traffic no body waits.

        While one parses, another begins only what pays: a small batch costs about as much as one of SMALL_BYTES, so
        that less is left to collect until nobody parses, or the driver has lingered.
        """
        actions: list[Action] = []
        while self._queue and (idle := [slot for slot, parses in enumerate(self._parses) if not parses]):
            if any(self._parses) and self._queue.bytes < SMALL_BYTES and not lingered:
                return [*actions, *self._linger()]
            actions.append(self._begin(self._queue.next_batch(self._batch_bytes_max), idle[0]))
        return actions

    def _linger(self) -> Sequence[Action]:
        if self._is_lingering:
            return []
        self._is_lingering = True
        return [Linger()]

    def _begin(self, waiting: Sequence[Waiting], slot: int) -> Parse:
        self._batches_begun += 1
        batch = Batch.of(self._batches_begun, waiting, slot)
        self._batches[batch.batch_id] = batch
        return self._parse(batch)

    def _parse(self, batch: Batch) -> Parse:
        self._parses[batch.slot] += 1
        news = self._news.pop(batch.slot, batch.namespace)
        return Parse(batch.batch_id, batch.slot, batch.namespace, batch.bodies(), news, batch.refused_tables)

    def _parsed(self, batch: Batch, result: ParsedBatch, now_ns: int) -> Sequence[Action]:
        """Append, or settle what is new first; or parse again, where newer schemas might change the result."""
        batch.keep(result)
        if not batch.waiting:
            return self._finish(batch)
        if batch.has_gone:
            return [self._parse(batch)]
        known = self._schemas.known(batch.namespace)
        lacked = _newer(known, result.lacking)
        self._news.add(batch.slot, batch.namespace, lacked)
        if agree(known, batch.additions) and not (lacked and batch.has_refused):
            return self._append(batch, now_ns)
        if lacked:
            return [self._parse(batch)]
        cached = {table: known[table] for table in batch.additions if table in known}
        return [Settle(batch.batch_id, batch.namespace, batch.additions, cached)]

    def _settled(self, batch: Batch, schemas: Schemas, refused: Mapping[str, str], now_ns: int) -> Sequence[Action]:
        self._learn(batch, schemas)
        batch.refused_tables = {**batch.refused_tables, **refused}
        if not batch.waiting:
            return self._finish(batch)
        if agree(schemas, batch.additions) and not batch.has_gone:
            return self._append(batch, now_ns)
        return [self._parse(batch)]

    def _learn(self, batch: Batch, schemas: Schemas) -> None:
        self._schemas.learn(batch.namespace, schemas)
        self._news.add(batch.slot, batch.namespace, schemas)

    def _settle_failed(self, batch: Batch, error: PenstockError, schemas: Schemas) -> Sequence[Action]:
        """Requests whose columns are all known go on without the others."""
        self._learn(batch, schemas)
        responses = batch.answer_needing_additions(error)
        rest = [self._parse(batch)] if batch.waiting else self._finish(batch)
        return [*responses, *rest]

    def _append(self, batch: Batch, now_ns: int) -> Sequence[Action]:
        batch.is_appended = True
        batch.pending = set(batch.payloads)
        appends = [
            Append(batch.batch_id, sequencer, self._records(batch, sequencer, now_ns))
            for sequencer in sorted(batch.payloads)
        ]
        batch.payloads = {}
        return [*appends, *batch.answer_without_sync(), *self._answer_resolved(batch)]

    def _records(self, batch: Batch, sequencer: SequencerId, now_ns: int) -> Sequence[Record]:
        first = self._sequences.get(sequencer, 0)
        payloads = batch.payloads[sequencer]
        self._sequences[sequencer] = first + len(payloads)
        return [
            Record.of(self._headers(batch, sequence, now_ns), payload)
            for sequence, payload in enumerate(payloads, first)
        ]

    def _headers(self, batch: Batch, sequence: int, now_ns: int) -> RecordHeaders:
        return RecordHeaders(
            ENTRY_CONTENT_TYPE, batch.namespace, self._producer_id, sequence, now_ns, batch.trace_parent
        )

    def _resolved(self, batch: Batch, sequencer: SequencerId) -> Sequence[Action]:
        batch.pending.remove(sequencer)
        return self._answer_resolved(batch)

    def _answer_resolved(self, batch: Batch) -> Sequence[Action]:
        responses = batch.answer_resolved()
        return responses if batch.pending else [*responses, *self._finish(batch)]

    def _parse_failed(self, batch: Batch, error: PenstockError, parser_died: bool) -> Sequence[Action]:
        """A body that breaks the parser is found by parsing each alone: it must not cost the others their rows.

        A body that was the only one is to blame for a defect, but for a death only if it was the second one.
        """
        was_tried = all(one.broke_parser for one in batch.waiting.values())
        if was_tried or (batch.is_of_one and not parser_died):
            return [*batch.answer_all(error), *self._finish(batch)]
        for one in batch.waiting.values():
            batch.held.subtract({one.request.client: len(one.request.body)})
        self._queue.add_first(replace(one, broke_parser=True) for one in batch.waiting.values())
        return self._finish(batch)

    def _finish(self, batch: Batch) -> Sequence[Action]:
        del self._batches[batch.batch_id]
        for client, count in batch.held.items():
            self._admission.release(client, count)
        return [Finished(batch.batch_id), *self._stopped_if_idle()]

    def _stopped_if_idle(self) -> Sequence[Action]:
        return [Stopped()] if self._stopping and not self._batches and not self._queue else []

    def figures(self) -> Mapping[str, int]:
        """For the status page."""
        return {
            "batches_in_flight": len(self._batches),
            "requests_queued": len(self._queue),
            "body_bytes_in_flight": self._admission.bytes_held,
            "clients_in_flight": self._admission.clients,
        }


def _given_up(request_id: int, reason: str, is_appended: bool) -> Respond:
    if is_appended:
        return Respond(request_id, Retry(Unavailable(f"{reason}; it may still become durable", written="unknown")))
    return Respond(request_id, Retry(Unavailable(f"{reason}; nothing of it is stored", written="no")))


def _newer(known: Schemas, versions: Mapping[str, int]) -> Schemas:
    """Those of `known` that are newer than `versions`, of the tables in these."""
    return {
        table: known[table] for table, version in versions.items() if table in known and known[table].version > version
    }
