"""One batch on its way: which of its requests still wait, and for which sequencers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from common.errors import PenstockError
from common.ids import Offset, SequencerId
from common.schema import Columns
from router import answers
from router.batch import Body, ParsedBatch, RequestLines
from router.events import Respond, WriteRequest


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that was admitted. arrival_ns: wall clock."""

    request_id: int
    request: WriteRequest
    arrival_ns: int

    def body(self) -> Body:
        """Lines without a timestamp take the arrival, rounded down to what the client's own stamps could say."""
        precision_ns = self.request.precision_ns
        return Body(self.request.body, precision_ns, self.arrival_ns // precision_ns * precision_ns)


@dataclass(slots=True)
class Batch:
    """Requests of one namespace that are parsed together.

    waiting: the unanswered, by request_id, in order of arrival. body_bytes: held until the batch is finished, whatever
    was answered before. pending: sequencers whose append has not resolved.
    """

    batch_id: int
    namespace: str
    waiting: dict[int, Waiting]
    body_bytes: int
    trace_parent: str
    lines: dict[int, RequestLines] = field(default_factory=dict)
    payloads: Mapping[SequencerId, Sequence[bytes]] = field(default_factory=dict)
    additions: Mapping[str, Columns] = field(default_factory=dict)
    pending: set[SequencerId] = field(default_factory=set)
    last_offsets: dict[SequencerId, Offset] = field(default_factory=dict)
    failures: dict[SequencerId, PenstockError] = field(default_factory=dict)
    _parsed_ids: list[int] = field(default_factory=list)

    def bodies(self) -> list[Body]:
        """What to parse: the bodies of those who wait."""
        self._parsed_ids = list(self.waiting)
        return [one.body() for one in self.waiting.values()]

    def take(self, result: ParsedBatch) -> None:
        """Keep what the parser found in `bodies`; some of those may wait no longer."""
        self.lines = dict(zip(self._parsed_ids, result.requests, strict=True))
        self.payloads = result.payloads
        self.additions = result.additions

    def answer_resolved(self) -> list[Respond]:
        """Answers for the requests whose sequencers have all resolved; these wait no longer."""
        ready = self._stop_waiting(lambda lines: lines.sequencers.isdisjoint(self.pending))
        return [Respond(request_id, self._outcome(self.lines[request_id])) for request_id in ready]

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
        """Whether nobody waits, and nothing of it was appended that would have to be awaited."""
        return not self.waiting and not self.pending

    def _stop_waiting(self, which: Callable[[RequestLines], bool]) -> list[int]:
        """Take those of `waiting` out whose lines are `which`; their ids."""
        taken = [request_id for request_id in self.waiting if which(self.lines[request_id])]
        for request_id in taken:
            del self.waiting[request_id]
        return taken

    def _outcome(self, lines: RequestLines) -> answers.Answer:
        for sequencer in sorted(lines.sequencers):
            if sequencer in self.failures:
                return answers.failed(self.failures[sequencer])
        if not lines.accepted and not lines.refused_count:
            return answers.nothing_to_store()
        return answers.lines_taken(lines, {one: self.last_offsets[one] for one in lines.sequencers})


def _failed(request_ids: Iterable[int], error: PenstockError) -> list[Respond]:
    return [Respond(request_id, answers.failed(error)) for request_id in request_ids]
