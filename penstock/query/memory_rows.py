"""One sequencer as a query sees it: the rows in an ingester's memory, and the manifest number they complement.

The newest claim in the manifest says where the ingester answers. While it restarts, a query tries again, reading the
claim again, until its time is over; an answer from an older epoch than the claim is not believed.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.flight

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.reading import META_APPLIED, META_EPOCH, META_MANIFEST, META_NEWEST, Ticket
from common.store.objects import ObjectStore, run
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import NO_MANIFEST, ManifestNumber, Offset, SequencerId
from common.values.schema import DAY_NS, arrow_schema
from penstock.query.stored import stored_tables
from penstock.query.time_range import ALWAYS, TimeRange

RETRY_S = 0.2
ANSWER_S = 2.0
"""An ingester that waits until the deadline still has to say how far it got."""
_NO_TABLE = ""
_FLIGHT_WORDS = re.compile(r"^Flight returned [a-z ]+ error, with message: |\. Detail: [A-Za-z ]+$")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SequencerRows:
    """rows: unpersisted, oldest first within each day. state: the manifest at exactly the number they complement."""

    rows: pa.Table
    state: ManifestState


@dataclass(frozen=True, slots=True)
class Behind:
    """An ingester answered with what it had: applied, of the buffer's next offset when it was asked."""

    sequencer: SequencerId
    applied_offset: Offset
    next_offset: Offset


class SequencerClient:
    """Asks one sequencer's ingester. Not shared between threads."""

    def __init__(self, store: ObjectStore, sequencer: SequencerId, wait_for: Offset | None, deadline_s: float) -> None:
        """wait_for: rows count once the record at this offset is applied. deadline_s: by time.monotonic()."""
        self._store = store
        self._sequencer = sequencer
        self._wait_for = wait_for
        self._deadline_s = deadline_s
        self.behind: Behind | None = None
        """Of the newest answer that lacked rows; a sequencer that is waited for is never behind."""
        self._state = run(manifest.load(sequencer), store)

    @property
    def state(self) -> ManifestState:
        """The newest manifest as last loaded."""
        return self._state

    def tables(self, namespace: str) -> set[str]:
        """Tables of `namespace` with files or rows in memory, those that `wait_for` made included."""
        if self._wait_for is not None:
            self.rows(namespace, _NO_TABLE)  # waits, which the list of tables cannot be asked to
        answer = self._ask(lambda client, options: next(iter(client.do_action(("tables", b""), options))))
        found = json.loads(answer.body.to_pybytes())
        self._note({name.encode(): str(value).encode() for name, value in found.items()})
        in_memory = {table for name, table in found["tables"] if name == namespace}
        return stored_tables(self._state, namespace) | in_memory

    def rows(self, namespace: str, table: str, within: TimeRange = ALWAYS) -> SequencerRows:
        """The rows of one table, those of days outside `within` left out.

        Raises Unavailable naming the sequencer and what its ingester said.
        """
        left_s = max(0.1, self._deadline_s - time.monotonic())
        days = within.first_ns // DAY_NS, within.last_ns // DAY_NS
        ticket = pyarrow.flight.Ticket(Ticket(namespace, table, *days, self._wait_for, left_s).to_bytes())
        rows = self._ask(lambda client, options: client.do_get(ticket, options).read_all())
        self._note(rows.schema.metadata)
        return SequencerRows(rows, self._state)

    def _note(self, marks: Mapping[bytes, bytes]) -> None:
        """The marks of one answer."""
        self._complement(int(marks[META_EPOCH]), ManifestNumber(int(marks[META_MANIFEST])))
        applied = Offset(int(marks[META_APPLIED]))
        newest = Offset(int(marks.get(META_NEWEST, marks[META_APPLIED])))
        if applied < newest and self._wait_for is None:
            self.behind = Behind(self._sequencer, applied, newest)

    def _complement(self, epoch: int, number: ManifestNumber) -> None:
        """Load the manifest at exactly the number that an answer complements."""
        if epoch < self._state.epoch:
            raise Unavailable(f"sequencer {self._sequencer}: an older ingester answered; ask again")
        if number != self._state.number:
            self._state = run(manifest.load_at(self._sequencer, number, self._state), self._store)

    def _ask(self, question: Callable[[pyarrow.flight.FlightClient, pyarrow.flight.FlightCallOptions], T]) -> T:
        while True:
            left_s = self._deadline_s - time.monotonic()
            try:
                if self._state.number == NO_MANIFEST:
                    raise Unavailable("no ingester ever claimed it")
                with pyarrow.flight.connect(f"grpc://{self._state.flight_address}") as client:
                    return question(client, pyarrow.flight.FlightCallOptions(timeout=max(0.1, left_s) + ANSWER_S))
            except pa.ArrowInvalid as error:
                raise InvalidRequest(str(error)) from error
            except (pyarrow.flight.FlightError, pa.ArrowException, Unavailable) as error:
                if time.monotonic() + RETRY_S >= self._deadline_s:
                    raise self._silent(error) from error
            time.sleep(RETRY_S)
            self._state = run(manifest.newer(self._state), self._store)

    def _silent(self, error: Exception) -> Unavailable:
        reason = cause(str(error))
        if "has applied up to" in reason:
            return Unavailable(reason)
        return Unavailable(
            f"sequencer {self._sequencer}: its ingester at {self._state.flight_address or 'no known address'} does not "
            f"answer ({reason}). Rows that are not persisted yet would be missing: start it, or read only what is "
            "persisted with --stored-only",
            sequencer=self._sequencer,
        )


def cause(text: str) -> str:
    """What `text` of gRPC and Flight says beyond their own words, e.g. `Connection refused`."""
    text = text.split(". gRPC client debug context")[0].split("Failed to connect to remote host: ")[-1]
    return _FLIGHT_WORDS.sub("", text)


def stored_rows(state: ManifestState) -> SequencerRows:
    """A sequencer without its ingester: what is persisted, nothing from memory."""
    return SequencerRows(arrow_schema({}).empty_table(), state)
