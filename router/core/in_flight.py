"""One batch on its way: which of its requests still wait, and for which sequencers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from common.values.errors import PenstockError
from common.values.ids import Offset, SequencerId
from common.values.schema import Columns
from router.core.events import Respond, WriteRequest
from router.core.outcome import Outcome, of_error, of_lines
from router.parsing.messages import Body, ParsedBatch, RequestLines
from router.parsing.time_bounds import TimeBounds


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that was admitted. arrival_ns: wall clock. times: which its lines may name. broke_parser: it was in a
    batch that did."""

    request_id: int
    request: WriteRequest
    arrival_ns: int
    times: TimeBounds
    broke_parser: bool = False

    @property
    def alone(self) -> bool:
        """Whether it gets a batch of its own."""
        return self.broke_parser or bool(self.request.table)

    def body(self) -> Body:
        """Lines without a timestamp get the time of arrival, rounded down to the client's precision if it names one."""
        precision_ns = self.request.precision_ns
        unit_ns = precision_ns or 1
        default_time_ns = self.arrival_ns // unit_ns * unit_ns
        request = self.request
        return Body(request.body, precision_ns, default_time_ns, request.all_or_nothing, self.times, request.table)


@dataclass(slots=True)
class Batch:
    """Requests of one namespace that are parsed together.

    waiting: the unanswered, by request_id, in the order in which they are parsed. held: bytes of bodies by client,
    until the batch is finished, with those of requests answered before. slot: the parser that has it. refused_tables:
    those that the namespace may not have, with the reason. pending: sequencers whose append has not resolved.
    """

    batch_id: int
    namespace: str
    waiting: dict[int, Waiting]
    held: Counter[str]
    trace_parent: str
    slot: int
    refused_tables: Mapping[str, str] = field(default_factory=dict)
    lines: dict[int, RequestLines] = field(default_factory=dict)
    payloads: Mapping[SequencerId, Sequence[bytes]] = field(default_factory=dict)
    additions: Mapping[str, Columns] = field(default_factory=dict)
    pending: set[SequencerId] = field(default_factory=set)
    last_offsets: dict[SequencerId, Offset] = field(default_factory=dict)
    failures: dict[SequencerId, PenstockError] = field(default_factory=dict)
    is_appended: bool = False
    _parsed_ids: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, batch_id: int, requests: Sequence[Waiting], slot: int) -> "Batch":
        """requests: of one namespace, at least one."""
        held: Counter[str] = Counter()
        for one in requests:
            held[one.request.client] += len(one.request.body)
        first = requests[0].request
        waiting = {one.request_id: one for one in requests}
        return cls(batch_id, first.namespace, waiting, held, first.trace_parent, slot)

    def bodies(self) -> list[Body]:
        """What to parse: the bodies of those who wait."""
        self._parsed_ids = list(self.waiting)
        return [one.body() for one in self.waiting.values()]

    def keep(self, result: ParsedBatch) -> None:
        """Keep what the parser found in `bodies`; some of those may wait no longer."""
        self.lines = dict(zip(self._parsed_ids, result.requests, strict=True))
        self.payloads = result.payloads
        self.additions = result.additions

    @property
    def has_refused(self) -> bool:
        """Whether a line of a request that waits was refused."""
        return any(self.lines[request_id].refused_count for request_id in self.waiting)

    @property
    def is_of_one(self) -> bool:
        """Whether one body was parsed, and nobody else's can have broken the parser."""
        return len(self._parsed_ids) == 1

    @property
    def has_gone(self) -> bool:
        """Whether one whose body was parsed waits no longer; nothing of it may be stored, so the others are parsed
        again."""
        return len(self.waiting) < len(self._parsed_ids)

    def answer_resolved(self) -> list[Respond]:
        """Answers for the requests whose sequencers have all resolved; these wait no longer."""
        ready = self._stop_waiting(lambda lines: lines.sequencers.isdisjoint(self.pending))
        return [Respond(request_id, self._outcome(self.lines[request_id])) for request_id in ready]

    def answer_without_sync(self) -> list[Respond]:
        """Answers for the requests that do not wait for durability; their rows are on the way, and have no token."""
        ready = [request_id for request_id, one in self.waiting.items() if one.request.no_sync]
        for request_id in ready:
            del self.waiting[request_id]
        return [Respond(request_id, of_lines(self.lines[request_id], {})) for request_id in ready]

    def answer_needing_additions(self, error: PenstockError) -> list[Respond]:
        """Answers `error` to the requests that need columns that are not settled; these wait no longer."""
        needing = self._stop_waiting(lambda lines: lines.needs_additions)
        return _failed(needing, error)

    def answer_all(self, error: PenstockError) -> list[Respond]:
        """Answers `error` to everyone who still waits."""
        waiting, self.waiting = self.waiting, {}
        return _failed(waiting, error)

    @property
    def is_given_up(self) -> bool:
        """Whether no request waits, and no append is under way."""
        return not self.waiting and not self.pending

    def _stop_waiting(self, which: Callable[[RequestLines], bool]) -> list[int]:
        """Remove from `waiting` those for whose lines `which` is true; returns their ids."""
        ended = [request_id for request_id in self.waiting if which(self.lines[request_id])]
        for request_id in ended:
            del self.waiting[request_id]
        return ended

    def _outcome(self, lines: RequestLines) -> Outcome:
        for sequencer in sorted(lines.sequencers):
            if sequencer in self.failures:
                return of_error(self.failures[sequencer])
        return of_lines(lines, {one: self.last_offsets[one] for one in lines.sequencers})


def _failed(request_ids: Iterable[int], error: PenstockError) -> list[Respond]:
    return [Respond(request_id, of_error(error)) for request_id in request_ids]
