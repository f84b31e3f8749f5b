"""What goes to a parser and what comes back: small values that can cross to another process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.values.ids import SequencerId
from common.values.schema import Columns
from router.parsing.time_bounds import ANY_TIME, TimeBounds
from writebuffer.record import RECORD_BYTES_MAX

REFUSED_SHOWN_MAX = 100
"""Refused lines, and dropped fields, of one request that are reported one by one; the rest is counted."""

PAYLOAD_BYTES_MAX = RECORD_BYTES_MAX - 1024
"""Leaves room for the header block: its fixed part, a namespace, a content type and a trace parent of at most 55."""

LINE_SHOWN_CHARS_MAX = 256
"""Of a refused line: mostly its table and tags, by which it is found where lines were not counted. InfluxDB 3 shows 20,
which many lines share; InfluxDB 1 shows all."""


@dataclass(frozen=True, slots=True)
class Body:
    """One request's lines, or with `table` an Arrow stream of rows for it; such a body is alone in its batch.

    default_time_ns: the time of lines that name none. precision_ns: of those that do, or GUESSED_PRECISION.
    all_or_nothing: one refused line withdraws the others. times: which times lines may name, fixed at the arrival.
    """

    data: bytes
    precision_ns: int
    default_time_ns: int
    all_or_nothing: bool = False
    times: TimeBounds = ANY_TIME
    table: str = ""


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """number: from 1. start: the line's first LINE_SHOWN_CHARS_MAX characters, and `…` where there are more."""

    number: int
    reason: str
    start: str


@dataclass(frozen=True, slots=True)
class DroppedField:
    """A field with a reserved name, left out of an accepted line. number: of the line, from 1."""

    number: int
    name: str


@dataclass(slots=True)
class RequestLines:
    """What became of one body. refused, dropped: the first REFUSED_SHOWN_MAX of `refused_count`, `dropped_count`.

    withdrawn: good lines of a body that is all or nothing and had a refused one; they count as not accepted. None
    where the body was not withdrawn.
    needs_additions: whether an accepted line has a column that is not settled.
    refusal: why the body as a whole was refused; it has no lines then.
    """

    accepted: int = 0
    withdrawn: int | None = None
    refused_count: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    dropped_count: int = 0
    dropped: list[DroppedField] = field(default_factory=list)
    sequencers: set[SequencerId] = field(default_factory=set)
    needs_additions: bool = False
    refusal: str = ""

    @property
    def count(self) -> int:
        """Lines that are neither empty nor comments."""
        return self.accepted + (self.withdrawn or 0) + self.refused_count

    @property
    def are_all_stored(self) -> bool:
        """Whether each line is accepted as it is, and needs nothing that is not settled."""
        return not (self.refused_count or self.withdrawn or self.dropped_count or self.needs_additions or self.refusal)

    def refuse(self, number: int, line: bytes, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < REFUSED_SHOWN_MAX:
            self.refused.append(RefusedLine(number, reason, _start(line)))

    def drop(self, number: int, names: Sequence[str]) -> None:
        self.dropped_count += len(names)
        room = REFUSED_SHOWN_MAX - len(self.dropped)
        self.dropped += [DroppedField(number, name) for name in names[:room]]

    def withdraw(self) -> None:
        """Nothing of this body is to be stored."""
        self.withdrawn, self.accepted = self.accepted, 0
        self.dropped_count, self.dropped = 0, []
        self.sequencers = set()
        self.needs_additions = False


def _start(line: bytes) -> str:
    text = line[: 4 * (LINE_SHOWN_CHARS_MAX + 1)].decode(errors="replace")
    return text if len(text) <= LINE_SHOWN_CHARS_MAX else text[:LINE_SHOWN_CHARS_MAX] + "…"


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """payloads: entries of at most PAYLOAD_BYTES_MAX bytes, by sequencer, in order. requests: one for each body, in
    order.

    additions: columns that accepted lines need and that the parser does not know as settled, by table.
    lacking: the version that the parser has of each table of which a line has a column that it does not know. Where a
    newer one exists, the parser may have refused too much or asked for too much.
    """

    payloads: Mapping[SequencerId, Sequence[bytes]]
    requests: Sequence[RequestLines]
    additions: Mapping[str, Columns]
    lacking: Mapping[str, int]
