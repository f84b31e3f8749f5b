"""What happens to the router's core, and what it asks for in return: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from common.values.errors import PenstockError
from common.values.ids import Offset, SequencerId
from common.values.schema import Columns
from router.core.outcome import Outcome
from router.parsing.messages import Body, ParsedBatch
from router.parsing.schemas import Schemas
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One write as the HTTP side has checked it. trace_parent: W3C trace context, or empty.

    precision_ns: of the lines' timestamps, or GUESSED_PRECISION. all_or_nothing: one refused line withdraws the others.
    no_sync: answered once its records are given to the write buffer, before they are durable. client: who takes turns
    with others.
    table: the body is an Arrow stream of rows for it; empty where the body is lines.
    """

    namespace: str
    body: bytes
    precision_ns: int
    trace_parent: str = ""
    all_or_nothing: bool = False
    no_sync: bool = False
    client: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """request_id: never used before. Its body's bytes are admitted for its client; the core releases them."""

    request_id: int
    request: WriteRequest


@dataclass(frozen=True, slots=True)
class Parsed:
    batch_id: int
    result: ParsedBatch


@dataclass(frozen=True, slots=True)
class ParseFailed:
    """The parser itself broke; no line is to blame. parser_died: with its whole process, of this batch or of anything
    else."""

    batch_id: int
    error: PenstockError
    parser_died: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """schemas: what is settled of the tables that were asked for. If one of the additions does not fit them (it has
    another type, or is over a table's limit), or `refused` has a table, others may be missing too: ask again for those
    that accepted lines need. refused: new tables, each with the reason why the namespace may not have it."""

    batch_id: int
    schemas: Schemas
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettleFailed:
    """schemas: what was settled, or found settled, before the error."""

    batch_id: int
    error: PenstockError
    schemas: Schemas


@dataclass(frozen=True, slots=True)
class AppendDone:
    batch_id: int
    sequencer: SequencerId
    last_offset: Offset


@dataclass(frozen=True, slots=True)
class AppendFailed:
    batch_id: int
    sequencer: SequencerId
    error: PenstockError


@dataclass(frozen=True, slots=True)
class Expired:
    """The request has waited as long as one may, or as long as this router goes on. Unknown ids are ignored: the
    request may just have been answered. reason: the beginning of the answer; its end says whether it may be stored."""

    request_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Accept no more requests; `Stopped` follows once those in flight are answered and every append has resolved."""


@dataclass(frozen=True, slots=True)
class Lingered:
    """What was asked for with Linger is over."""


Event = Arrived | Parsed | ParseFailed | Settled | SettleFailed | AppendDone | AppendFailed | Expired | Stop | Lingered


@dataclass(frozen=True, slots=True)
class Parse:
    """Answered by Parsed or ParseFailed. Small enough to cross to another process, however large the namespace is.

    slot: the parser, 0..parse_slots-1; each parses one batch after another. news: schemas that it lacks.
    refused_tables: tables of these bodies whose lines are refused, with the reason.
    """

    batch_id: int
    slot: int
    namespace: str
    bodies: Sequence[Body]
    news: Schemas
    refused_tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settle:
    """Answered by Settled or SettleFailed. cached: what is known of the tables in `additions`."""

    batch_id: int
    namespace: str
    additions: Mapping[str, Columns]
    cached: Schemas


@dataclass(frozen=True, slots=True)
class Append:
    """Answered by AppendDone or AppendFailed. Must be performed in the order in which the core asked."""

    batch_id: int
    sequencer: SequencerId
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this batch any longer: its Parse or Settle should end early. Both still need an answer."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Linger:
    """Answered by Lingered after some milliseconds: until then more bodies may come that are parsed together."""


@dataclass(frozen=True, slots=True)
class Respond:
    request_id: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more will be asked or expected for this batch."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Halt:
    """This process must end with `error`: going on would not store another write."""

    error: PenstockError


@dataclass(frozen=True, slots=True)
class Stopped:
    """Everything is answered and resolved."""


Action = Parse | Settle | Append | Cancel | Linger | Respond | Finished | Halt | Stopped
