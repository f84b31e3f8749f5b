"""What goes to a worker and comes back, as bytes on the stream socket between the two.

A worker writes READY once; from then on both write frames.
    frame = u32 little endian: bytes of the head   head   small blobs, joined   large blobs, one by one
    head  = pickle of the message without its blobs, and of their sizes
Bodies and payloads are blobs. One of ALONE_BYTES_MIN or more is written from where it is and read to where it stays,
because copying a megabyte costs 0.6 ms. The two ends are one build, and nobody else has the socket: no version, and
pickle is safe.
"""

import pickle
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from operator import attrgetter
from typing import Any

from common.values.ids import SequencerId
from router.core.events import Cancel, Parse, Parsed, ParseFailed
from router.parsing.messages import Body, ParsedBatch, RequestLines

READY = b"\n"
"""It has started and can parse: who dies before was not ended by any batch."""

ALONE_BYTES_MIN = 64 * 1024

_PARSE, _PARSED, _AS_IT_IS = range(3)
"""What a head is of. Messages of each batch are tuples of plain values: as objects they would cost twice as much."""

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
        case Parse(batch_id, slot, namespace, bodies, news, refused_tables):
            others = [_without_data(body) for body in bodies]
            action = (_PARSE, batch_id, slot, namespace, others, news, refused_tables)
            return _frame(action, [body.data for body in bodies])
        case Answer(Parsed(batch_id, result), trace):
            counts = {sequencer: len(some) for sequencer, some in result.payloads.items()}
            lines = [_short(one) for one in result.requests]
            found = (_PARSED, batch_id, lines, result.additions, result.lacking, counts, trace)
            return _frame(found, [one for some in result.payloads.values() for one in some])
        case _:
            return _frame((_AS_IT_IS, message), ())


def read() -> Reading:
    """Reads what `write` wrote."""
    (head_bytes,) = _LENGTH.unpack((yield _LENGTH.size))
    values, sizes = pickle.loads((yield head_bytes))
    joined = yield sum(size for size in sizes if size < ALONE_BYTES_MIN)
    blobs = []
    at = 0
    for size in sizes:
        if size < ALONE_BYTES_MIN:
            blobs.append(joined[at : at + size])
            at += size
        else:
            blobs.append((yield size))
    return _message(values, blobs)


def _frame(values: tuple[Any, ...], blobs: Sequence[bytes]) -> Frame:
    sizes = [len(blob) for blob in blobs]
    head = pickle.dumps((values, sizes), pickle.HIGHEST_PROTOCOL)
    joined = b"".join([blob for blob in blobs if len(blob) < ALONE_BYTES_MIN])
    return [_LENGTH.pack(len(head)) + head, joined, *(blob for blob in blobs if len(blob) >= ALONE_BYTES_MIN)]


def _message(values: tuple[Any, ...], blobs: list[bytes]) -> Message:
    kind, *rest = values
    if kind == _PARSE:
        batch_id, slot, namespace, others, news, refused_tables = rest
        bodies = [Body(data, *other) for data, other in zip(blobs, others, strict=True)]
        return Parse(batch_id, slot, namespace, bodies, news, refused_tables)
    if kind == _PARSED:
        batch_id, lines, additions, lacking, counts, trace = rest
        left = iter(blobs)
        payloads = {sequencer: list(islice(left, count)) for sequencer, count in counts.items()}
        return Answer(
            Parsed(batch_id, ParsedBatch(payloads, [_whole(one) for one in lines], additions, lacking)), trace
        )
    (message,) = rest
    return message  # type: ignore[no-any-return]


def _short(lines: RequestLines) -> RequestLines | tuple[int, set[SequencerId]]:
    """All there is to say of most requests."""
    return (lines.accepted, lines.sequencers) if lines.are_all_stored else lines


def _whole(short: RequestLines | tuple[int, set[SequencerId]]) -> RequestLines:
    if isinstance(short, RequestLines):
        return short
    accepted, sequencers = short
    return RequestLines(accepted, sequencers=sequencers)
