"""What the router's core is told, and what it asks for in return: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.errors import PenstockError
from common.ids import Offset, SequencerId
from common.schema import Columns
from router.answers import Answer
from router.batch import Body, ParsedBatch
from router.schema_gate import Schemas
from writebuffer.record import Record


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One write as the HTTP side has checked it. trace_parent: W3C trace context, or empty."""

    namespace: str
    body: bytes
    precision_ns: int
    trace_parent: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """request_id: never used before."""

    request_id: int
    request: WriteRequest


@dataclass(frozen=True, slots=True)
class Parsed:
    batch_id: int
    result: ParsedBatch


@dataclass(frozen=True, slots=True)
class ParseFailed:
    """The parser itself broke; no line is to blame."""

    batch_id: int
    error: PenstockError


@dataclass(frozen=True, slots=True)
class Settled:
    """schemas: of every table that was asked for."""

    batch_id: int
    schemas: Schemas


@dataclass(frozen=True, slots=True)
class SettleFailed:
    """schemas: of the tables that were settled before the error."""

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
    """The request has waited as long as one may, or as long as this router goes on. Unknown ids are fine: it may just
    have been answered."""

    request_id: int
    error: PenstockError


@dataclass(frozen=True, slots=True)
class Stop:
    """Take no more requests; `Stopped` follows once those in flight are answered and every append has resolved."""


Event = Arrived | Parsed | ParseFailed | Settled | SettleFailed | AppendDone | AppendFailed | Expired | Stop


@dataclass(frozen=True, slots=True)
class Parse:
    """Answered by Parsed or ParseFailed."""

    batch_id: int
    namespace: str
    bodies: Sequence[Body]
    schemas: Schemas


@dataclass(frozen=True, slots=True)
class Settle:
    """Answered by Settled or SettleFailed. cached: what is known of the namespace's tables."""

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
    """Nobody waits for this batch any longer: its Parse or Settle should end early. It is still to be answered."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Respond:
    request_id: int
    answer: Answer


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


Action = Parse | Settle | Append | Cancel | Respond | Finished | Halt | Stopped
