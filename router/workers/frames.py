"""What goes to a worker and comes back, as bytes on the stream socket between the two.

A worker writes READY once; from then on both write frames.
    frame = u32 little endian: bytes of the head   head   blobs
    head  = pickle of the message without its blobs, and of these: RAW_BYTES_MIN or more are only their length here, and
            follow raw
Bodies and payloads are blobs: a large one is written from where it is and read to where it stays, because pickling one
of a megabyte costs 0.6 ms. The two ends are one build, and nobody else has the socket: no version, and pickle is safe.
"""

import pickle
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from operator import attrgetter
from typing import Any

from router.core.events import Cancel, Parse, Parsed, ParseFailed
from router.parsing.messages import Body

READY = b"\n"
"""It has started and can parse: who dies before was not ended by any batch."""

RAW_BYTES_MIN = 64 * 1024

_LENGTH = struct.Struct("<I")
_without_data = attrgetter(*[one.name for one in fields(Body) if one.name != "data"])
"""A body's other values, in order: pickling bodies as objects would cost 2 µs each way for every one."""

Frame = list[bytes]
"""The bytes of one frame, in parts."""

Reading = Generator[int, bytes, "Message"]
"""Reads one frame: yields how many bytes it needs next, is sent exactly those, and returns the message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """trace: the stack of a defect, for the log; else empty."""

    event: Parsed | ParseFailed
    trace: str = ""


Message = Parse | Cancel | Answer


def write(message: Message) -> Frame:
    """The frame of one message."""
    match message:
        case Parse(bodies=bodies):
            without_data = [_without_data(body) for body in bodies]
            return _frame((replace(message, bodies=()), without_data), [body.data for body in bodies])
        case Cancel():
            return _frame(message, ())
        case Answer(event, trace):
            return _answer(event, trace)


def read() -> Reading:
    """Reads what `write` wrote."""
    (head_bytes,) = _LENGTH.unpack((yield _LENGTH.size))
    values, blobs = pickle.loads((yield head_bytes))
    for number, blob in enumerate(blobs):
        if isinstance(blob, int):
            blobs[number] = yield blob
    return _message(values, blobs)


def _answer(event: Parsed | ParseFailed, trace: str) -> Frame:
    if isinstance(event, ParseFailed):
        return _frame(Answer(event, trace), ())
    payloads = event.result.payloads
    counts = {sequencer: len(some) for sequencer, some in payloads.items()}
    without_payloads = Parsed(event.batch_id, replace(event.result, payloads={}))
    return _frame((Answer(without_payloads, trace), counts), [one for some in payloads.values() for one in some])


def _frame(values: Any, blobs: Sequence[bytes]) -> Frame:
    raw = [blob for blob in blobs if len(blob) >= RAW_BYTES_MIN]
    in_head = [len(blob) if len(blob) >= RAW_BYTES_MIN else blob for blob in blobs]
    head = pickle.dumps((values, in_head), pickle.HIGHEST_PROTOCOL)
    return [_LENGTH.pack(len(head)) + head, *raw]


def _message(values: Any, blobs: list[bytes]) -> Message:
    match values:
        case (Parse() as action, without_data):
            bodies = [Body(data, *others) for data, others in zip(blobs, without_data, strict=True)]
            return replace(action, bodies=bodies)
        case (Answer(Parsed(batch_id, result), trace), counts):
            payloads = iter(blobs)
            by_sequencer = {sequencer: list(islice(payloads, count)) for sequencer, count in counts.items()}
            return Answer(Parsed(batch_id, replace(result, payloads=by_sequencer)), trace)
    message: Message = values
    return message
