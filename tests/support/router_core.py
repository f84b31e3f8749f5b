"""A router's core whose driver does nothing until a test says so."""

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import structlog

from common.catalog.schema_store import SchemaStore, newest
from common.catalog.table_limit import TableLimit
from common.store.objects import run
from common.values.clock import FakeClock
from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from common.values.schema import Columns
from router.api.v2 import render
from router.core.admission import Admission
from router.core.core import RouterCore
from router.core.events import (
    Action,
    Append,
    AppendDone,
    AppendFailed,
    Arrived,
    Event,
    Finished,
    Parse,
    Respond,
    Settle,
    WriteRequest,
)
from router.core.outcome import Outcome, PartlyStored, Stored
from router.parsing.partition import sequencer_of, series_hash
from router.parsing.time_bounds import NO_TIME_LIMITS, TimeLimits
from router.performer import Performer
from tests.support.dict_store import DictStore
from tests.support.parsers import LocalParser

NOW_NS = 1_700_000_000_123_456_789
PRODUCER = b"p" * 16
AWAY = Unavailable("the disk is full")
LATE = "not durable in time"
"""Why a request expires."""
A = TypeVar("A")


class Steps:
    """A core, and a driver that does nothing until the test says so."""

    def __init__(
        self,
        in_flight: int = 10_000,
        batch: int = 1_000,
        slots: int = 1,
        sequencers: int = 4,
        time_limits: TimeLimits = NO_TIME_LIMITS,
        tables_max: int = 0,
    ) -> None:
        self.admission = Admission(in_flight)
        self.core = RouterCore(PRODUCER, self.admission, batch, parse_slots=slots, time_limits=time_limits)
        self.store = DictStore()
        self.requests = 0
        self.now_ns = NOW_NS
        self._nonces = itertools.count()
        self.clock = FakeClock()
        self._schemas = SchemaStore(lambda: str(next(self._nonces)), TableLimit(tables_max, self.clock))
        self.performer = Performer(self._schemas, structlog.get_logger())
        self._sequencers = sequencers
        self.restart_parser()

    def restart_parser(self) -> None:
        """As in a new process: it knows nothing."""
        self.parser = LocalParser(self._sequencers)

    def step(self, event: Event) -> list[Action]:
        return list(self.core.step(event, self.now_ns))

    def arrive(
        self,
        body: str,
        namespace: str = "ns",
        precision_ns: int = 1,
        trace: str = "",
        client: str = "",
        **options: Any,
    ) -> list[Action]:
        """options: the others of WriteRequest. Admission is the reader's, which would have refused it before."""
        self.requests += 1
        request = WriteRequest(namespace, body.encode(), precision_ns, trace, client=client, **options)
        assert self.admission.admit(client, len(request.body)), self.admission.refusal(client)
        return self.step(Arrived(self.requests, request))

    def parsed(self, parse: Parse) -> list[Action]:
        return self.step(self.parser.parse(parse))

    def settled(self, settle: Settle) -> list[Action]:
        return self.step(run(self.performer.settle(settle), self.store))

    def settle_elsewhere(self, table: str, columns: Columns) -> None:
        """As another router would do it."""
        other = SchemaStore(lambda: f"other {next(self._nonces)}")
        run(other.settle("ns", table, run(newest("ns", table), self.store), columns), self.store)

    def appended(self, append: Append, last_offset: int = 0) -> list[Action]:
        return self.step(AppendDone(append.batch_id, append.sequencer, Offset(last_offset)))

    def append_failed(self, append: Append, error: PenstockError = AWAY) -> list[Action]:
        return self.step(AppendFailed(append.batch_id, append.sequencer, error))

    def outcome_of(self, body: str, **options: Any) -> Outcome:
        """What becomes of a write, all of whose actions succeed. options: as of `arrive`."""
        actions = self.arrive(body, **options)
        while parses := every(actions, Parse):
            actions = self.parsed(parses[0])
            for settle in every(actions, Settle):
                actions = self.settled(settle)
        for append in every(actions, Append):
            actions += self.appended(append)
        return outcomes(actions)[self.requests]

    def columns_of(self, table: str) -> Columns:
        """As they are settled by now."""
        return run(newest("ns", table), self.store).columns

    def learn(self, body: str) -> None:
        """Bring the columns of `body` into the cache, by a write that goes all the way."""
        settle = only(self.parsed(only(self.arrive(body), Parse)), Settle)
        for append in every(self.settled(settle), Append):
            self.appended(append)


def only(actions: Sequence[Action], kind: type[A]) -> A:
    """The one action that there is, but for Finished."""
    (action,) = [action for action in actions if not isinstance(action, Finished)]
    assert isinstance(action, kind), action
    return action


def every(actions: Sequence[Action], kind: type[A]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def host_on(sequencer: int, table: str = "t") -> str:
    """A host whose series of `table` lives on `sequencer` of four."""
    return next(
        host for n in range(100) if sequencer_of(series_hash("ns", table, (("host", host := f"h{n}"),)), 4) == sequencer
    )


def outcomes(actions: Sequence[Action]) -> dict[int, Outcome]:
    """What became of the requests that `actions` answer, by request."""
    return {action.request_id: action.outcome for action in every(actions, Respond)}


def statuses(actions: Sequence[Action]) -> dict[int, int]:
    """How the v2 API answers them."""
    return {request_id: render(outcome).status for request_id, outcome in outcomes(actions).items()}


def last_offsets(outcome: Outcome) -> dict[SequencerId, Offset]:
    """Of the sequencers that hold the request's lines; none where nothing of it is stored."""
    return dict(outcome.last_offsets) if isinstance(outcome, Stored | PartlyStored) else {}
