"""Opening many small entries at once: the headers of a poll's records as columns, each checked as `open_entry` does.

Only what is plainly right is found here: an uncompressed entry of packed rows whose sums are those of its bytes. Any
other is opened alone, which names what is wrong with it.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import xxhash

from common.entry.decoding import Packed
from common.entry.envelope import CODEC_NONE, MAGIC, PACKED_ROWS, PACKED_TABLE_BYTES, Envelope
from common.entry.packed_header import DECODED_BYTES_MAX

_HEAD = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "u1"),
        ("codec", "u1"),
        ("tables", "<u2"),
        ("raw", "<u4"),
        ("stored", "<u4"),
        ("body_sum", "<u8"),
        ("length", "<u4"),
        ("name", "<u2"),
        ("gap", "<u2"),
    ]
)
"""The fixed header of version 2, with its gap."""

_SUM_BYTES = 8
_MAGIC_NUMBER = int.from_bytes(MAGIC, "little")
_ENVELOPE, _PACKED = partial(tuple.__new__, Envelope), partial(tuple.__new__, Packed)
"""Of their values in a row: a NamedTuple's own call takes three times as long, and one is made for each record."""


def open_packed(payloads: Sequence[bytes]) -> list[Packed | None]:
    """What `open_entry` returns of each; None for what has to be opened alone."""
    found: list[Packed | None] = [None] * len(payloads)
    heads = _heads(payloads)
    right = _fits(heads, np.array([len(payload) for payload in payloads], np.int64))
    at = np.flatnonzero(right)
    if not len(at):
        return found
    positions = at.tolist()
    for position, packed in zip(positions, _opened([payloads[one] for one in positions], heads[at]), strict=True):
        found[position] = packed
    return found


def _heads(payloads: Sequence[bytes]) -> npt.NDArray[np.void]:
    """Of those that are too short, zeros."""
    size = _HEAD.itemsize
    data = b"".join([payload[:size] for payload in payloads])
    if len(data) != size * len(payloads):
        data = b"".join([payload[:size] if len(payload) >= size else bytes(size) for payload in payloads])
    return np.frombuffer(data, _HEAD)


def _fits(heads: npt.NDArray[np.void], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether all but the sums is as it must be."""
    raw, length, stored = (heads[name].astype(np.int64) for name in ("raw", "length", "stored"))
    fits: npt.NDArray[np.bool_] = (heads["magic"] == _MAGIC_NUMBER) & (heads["version"] == PACKED_ROWS)
    fits &= (heads["codec"] == CODEC_NONE) & (heads["tables"] > 0)
    fits &= (raw == stored) & (raw <= DECODED_BYTES_MAX) & (length + stored == sizes)
    return fits & (_name_ends(heads) + _SUM_BYTES <= length)


def _name_starts(heads: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    starts: npt.NDArray[np.int64] = _HEAD.itemsize + PACKED_TABLE_BYTES * heads["tables"].astype(np.int64)
    return starts


def _name_ends(heads: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    ends: npt.NDArray[np.int64] = _name_starts(heads) + heads["name"]
    return ends


def _opened(payloads: Sequence[bytes], heads: npt.NDArray[np.void]) -> list[Packed | None]:
    """Of payloads that fit."""
    lengths, starts, ends = heads["length"].tolist(), _name_starts(heads).tolist(), _name_ends(heads).tolist()
    headers = [payload[: length - _SUM_BYTES] for payload, length in zip(payloads, lengths, strict=True)]
    bodies = [payload[length:] for payload, length in zip(payloads, lengths, strict=True)]
    said = b"".join([payload[length - _SUM_BYTES : length] for payload, length in zip(payloads, lengths, strict=True)])
    right = (_sums(headers) == np.frombuffer(said, "<u8")) & (_sums(bodies) == heads["body_sum"])
    names = [header[start:end] for header, start, end in zip(headers, starts, ends, strict=True)]
    texts = {name: _text(name) for name in set(names)}
    envelopes = zip(
        heads["version"].tolist(),
        heads["codec"].tolist(),
        heads["tables"].tolist(),
        heads["raw"].tolist(),
        heads["stored"].tolist(),
        heads["body_sum"].tolist(),
        lengths,
        [texts[name] for name in names],
        [header[_HEAD.itemsize : start] for header, start in zip(headers, starts, strict=True)],
        [header[end:] for header, end in zip(headers, ends, strict=True)],
        strict=True,
    )
    found: list[Packed | None] = [*map(_PACKED, zip(map(_ENVELOPE, envelopes), bodies, strict=True))]
    if not right.all() or None in texts.values():
        checked = zip(found, right.tolist(), names, strict=True)
        found = [packed if is_right and texts[name] is not None else None for packed, is_right, name in checked]
    return found


def _sums(parts: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    return np.array([*map(xxhash.xxh3_64_intdigest, parts)], np.uint64)


def _text(name: bytes) -> str | None:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None
