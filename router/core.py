"""The router's decisions, without I/O: whom to admit, what to parse together, when to append, what to answer.

A driver feeds events (events.py) to `step` and performs the actions it returns, in their order. One batch goes
    collect -> Parse -> [Settle -> Parse again where the store decided otherwise] -> Append to each sequencer -> Respond
Invariants. A request is answered exactly once, and at the latest when it expires, however far its batch has come. 204
only after every sequencer that holds a line of it is durable. Nothing of a request is appended before all its columns
are settled. The records of one sequencer get their producer sequences in the order in which their appends are asked
for. A body's bytes count until its batch's last append has resolved.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from common.errors import DataCorrupt, Fenced, Forked, PenstockError
from common.ids import SequencerId
from router import answers
from router.admission import Admission
from router.events import (
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
from router.in_flight import Batch, Waiting
from router.schema_gate import SchemaGate, Schemas, agree
from writebuffer.errors import WriterDied
from writebuffer.record import ENTRY_CONTENT_TYPE, Record, RecordHeaders

_Collected = OrderedDict[int, Waiting]
"""Admitted requests of one namespace that are in no batch yet, by request_id."""

_HALTING = (Fenced, Forked, DataCorrupt, WriterDied)
"""Of an append: another holds the buffer, its history is not the one known, a person has to look, or its thread is
gone. No later append would fare better in this process."""


class RouterCore:
    """For one thread. `step` returns at once, whatever is in flight."""

    def __init__(self, producer_id: bytes, admission: Admission, batch_bytes_max: int, *, parse_slots: int = 1) -> None:
        """producer_id: 16 bytes, new at each start. parse_slots: batches that are parsed at once."""
        self._producer_id = producer_id
        self._admission = admission
        self._batch_bytes_max = batch_bytes_max
        self._free_slots = parse_slots
        self._gate = SchemaGate()
        self._collecting: OrderedDict[str, _Collected] = OrderedDict()
        self._batches: dict[int, Batch] = {}
        self._batches_begun = 0
        self._sequences: dict[SequencerId, int] = {}
        self._stopping = False

    def step(self, event: Event, now_ns: int) -> Sequence[Action]:
        """The actions that follow from `event`. now_ns: wall clock."""
        match event:
            case Arrived(request_id, request):
                return self._arrived(request_id, request, now_ns)
            case Stop():
                self._stopping = True
                return self._stopped_if_idle()
            case Parsed(batch_id, result):
                self._free_slots += 1
                batch = self._batches[batch_id]
                batch.take(result)
                return [*self._go_on(batch, now_ns), *self._begin_batches()]
            case ParseFailed(batch_id, error):
                self._free_slots += 1
                return [*self._give_up(self._batches[batch_id], error), *self._begin_batches()]
            case Settled(batch_id, schemas):
                return self._settled(self._batches[batch_id], schemas, now_ns)
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
            case Expired(request_id, error):
                return self._expired(request_id, error)

    def _arrived(self, request_id: int, request: WriteRequest, now_ns: int) -> Sequence[Action]:
        if self._stopping:
            return [Respond(request_id, answers.overloaded("this router is stopping: send again"))]
        if not request.body:
            return [Respond(request_id, answers.nothing_to_store())]
        if not self._admission.admit(len(request.body)):
            return [Respond(request_id, answers.overloaded(self._admission.refusal))]
        collected = self._collecting.setdefault(request.namespace, OrderedDict())
        collected[request_id] = Waiting(request_id, request, now_ns)
        return self._begin_batches()

    def _expired(self, request_id: int, error: PenstockError) -> Sequence[Action]:
        for namespace, collected in self._collecting.items():
            if request_id in collected:
                return self._expired_before_its_batch(request_id, namespace, error)
        for batch in self._batches.values():
            if batch.waiting.pop(request_id, None):
                cancel = [Cancel(batch.batch_id)] if batch.is_given_up else []
                return [Respond(request_id, answers.failed(error)), *cancel]
        return []

    def _expired_before_its_batch(self, request_id: int, namespace: str, error: PenstockError) -> Sequence[Action]:
        collected = self._collecting[namespace]
        self._admission.release(len(collected.pop(request_id).request.body))
        if not collected:
            del self._collecting[namespace]
        return [Respond(request_id, answers.failed(error)), *self._stopped_if_idle()]

    def _begin_batches(self) -> list[Action]:
        """Fill the free slots. While all are taken, bodies collect; idle traffic waits for nobody."""
        actions: list[Action] = []
        while self._free_slots > 0 and self._collecting:
            namespace, collected = self._collecting.popitem(last=False)
            actions.append(self._begin(namespace, collected))
            if collected:
                self._collecting[namespace] = collected  # behind the others
        return actions

    def _begin(self, namespace: str, collected: _Collected) -> Parse:
        first_id, first = collected.popitem(last=False)
        waiting = {first_id: first}
        size = len(first.request.body)
        while collected and size + _first_size(collected) <= self._batch_bytes_max:
            request_id, one = collected.popitem(last=False)
            size += len(one.request.body)
            waiting[request_id] = one
        self._batches_begun += 1
        batch = Batch(self._batches_begun, namespace, waiting, size, first.request.trace_parent)
        self._batches[batch.batch_id] = batch
        return self._parse(batch)

    def _parse(self, batch: Batch) -> Parse:
        self._free_slots -= 1
        return Parse(batch.batch_id, batch.namespace, batch.bodies(), self._gate.known(batch.namespace))

    def _go_on(self, batch: Batch, now_ns: int) -> Sequence[Action]:
        """After a parse: settle what is new, or append."""
        if not batch.waiting:
            return self._finish(batch)
        if batch.additions:
            known = self._gate.known(batch.namespace)
            return [Settle(batch.batch_id, batch.namespace, batch.additions, known)]
        return self._append(batch, now_ns)

    def _settled(self, batch: Batch, schemas: Schemas, now_ns: int) -> Sequence[Action]:
        self._gate.learn(batch.namespace, schemas)
        if not batch.waiting:
            return self._finish(batch)
        if agree(schemas, batch.additions):
            return self._append(batch, now_ns)
        return [self._parse(batch)]

    def _settle_failed(self, batch: Batch, error: PenstockError, schemas: Schemas) -> Sequence[Action]:
        """Requests whose columns are all known go on without the others."""
        self._gate.learn(batch.namespace, schemas)
        responses = batch.answer_needing_additions(error)
        rest = [self._parse(batch)] if batch.waiting else self._finish(batch)
        return [*responses, *rest]

    def _append(self, batch: Batch, now_ns: int) -> Sequence[Action]:
        batch.pending = set(batch.payloads)
        appends = [
            Append(batch.batch_id, sequencer, self._records(batch, sequencer, now_ns))
            for sequencer in sorted(batch.payloads)
        ]
        batch.payloads = {}
        return [*appends, *self._answer_resolved(batch)]

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

    def _give_up(self, batch: Batch, error: PenstockError) -> Sequence[Action]:
        return [*batch.answer_all(error), *self._finish(batch)]

    def _finish(self, batch: Batch) -> Sequence[Action]:
        del self._batches[batch.batch_id]
        self._admission.release(batch.body_bytes)
        return [Finished(batch.batch_id), *self._stopped_if_idle()]

    def _stopped_if_idle(self) -> Sequence[Action]:
        return [Stopped()] if self._stopping and not self._batches and not self._collecting else []

    def figures(self) -> Mapping[str, int]:
        """For the status page."""
        return {"batches_in_flight": len(self._batches), "body_bytes_in_flight": self._admission.bytes_held}


def _first_size(collected: _Collected) -> int:
    """Body bytes of the oldest."""
    return len(next(iter(collected.values())).request.body)
