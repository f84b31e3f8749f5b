"""What became of a write: what the core decides, an API renders (router/api), and the metrics count."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from common.values.errors import Fenced, Forked, Misconfigured, PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from router.parsing.messages import RequestLines

_MAY_PASS = (Unavailable, Misconfigured, Fenced, Forked)


class Reason(enum.Enum):
    """Why a request was refused before its lines were read."""

    INVALID = "invalid"
    NO_LENGTH = "no length"
    TOO_SLOW = "too slow"


@dataclass(frozen=True, slots=True)
class Stored:
    """Every line is durable, or there was none. last_offsets: of the sequencers that hold them."""

    lines: RequestLines = field(default_factory=RequestLines)
    last_offsets: Mapping[SequencerId, Offset] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartlyStored:
    """Some lines were refused, with their reasons; the others are durable."""

    lines: RequestLines
    last_offsets: Mapping[SequencerId, Offset]


@dataclass(frozen=True, slots=True)
class LinesRefused:
    """Every line was refused, or so many as to withdraw the whole request; nothing is stored."""

    lines: RequestLines


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The request itself is wrong, not its lines; nothing is stored."""

    message: str
    reason: Reason = Reason.INVALID


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The body is over body_bytes_max, before or after decompression; nothing is stored."""

    body_bytes_max: int

    @property
    def message(self) -> str:
        return f"the body is over {self.body_bytes_max} bytes, before or after decompression: send smaller batches"


@dataclass(frozen=True, slots=True)
class Overloaded:
    """Too much is in flight, or this router is stopping. The request was not looked at: it may come again."""

    message: str


@dataclass(frozen=True, slots=True)
class Limited:
    """This client has sent more than an operator allows it. It may come again after so many whole seconds."""

    message: str
    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Not stored, or not known to be, for a reason that passes, or that an operator cures: the same request may come
    again."""

    error: PenstockError


@dataclass(frozen=True, slots=True)
class Failed:
    """Not stored, or not known to be, for a reason that no repetition cures: a defect, or damage."""

    error: PenstockError


Outcome = Stored | PartlyStored | LinesRefused | RequestRefused | TooLarge | Overloaded | Limited | Retry | Failed


def of_lines(lines: RequestLines, last_offsets: Mapping[SequencerId, Offset]) -> Outcome:
    """The outcome once every accepted line is durable."""
    if lines.refusal:
        return RequestRefused(lines.refusal)
    if not lines.refused_count:
        return Stored(lines, last_offsets)
    return PartlyStored(lines, last_offsets) if lines.accepted else LinesRefused(lines)


def of_error(error: PenstockError) -> Outcome:
    """A buffer that was deleted may come back, a permission be given again; damaged data stays damaged."""
    return Retry(error) if isinstance(error, _MAY_PASS) else Failed(error)
