"""A manifest record as every process may read it: where it stands, its seal, and up to where it says rows are durable.

    manifest/<sequencer:03>/<number:020>.json     {"xxh3":"<16 hex>","record":{…}}, the sum over the record's bytes

Numbers are dense from 1. What else a record says, and who may write one, is the ingester's
(ingester/persist/manifest.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from common.errors import DataCorrupt
from common.ids import NO_MANIFEST, ManifestNumber, Offset, SequencerId
from common.objectstore import Get, NotFound, Steps

FORMAT = 1
_HEAD = b'{"xxh3":"%016x","record":'
_HEAD_LENGTH = len(_HEAD % 0)


@dataclass(frozen=True, slots=True)
class Head:
    """Every row below `replay_offset` of the stream `identity` is durable in the store, as of the newest record."""

    number: ManifestNumber
    replay_offset: Offset
    identity: str


def path(sequencer: SequencerId, number: ManifestNumber) -> str:
    return f"manifest/{sequencer:03}/{number:020}.json"


def find_head(sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST) -> Steps[ManifestNumber]:
    """The greatest number there is, found by probing upward: a listing may lag. Numbers are dense."""
    step = 1
    low = at_least
    while (yield from _stands(sequencer, ManifestNumber(low + step))):
        low = ManifestNumber(low + step)
        step *= 2
    high = low + step
    while high - low > 1:
        middle = ManifestNumber((low + high) // 2)
        if (yield from _stands(sequencer, middle)):
            low = middle
        else:
            high = middle
    return low


def followed_identity(sequencer: SequencerId) -> Steps[str | None]:
    """The identity of the stream that the store is filled from, by the first record; None where there is none.

    It never changes: whoever would follow another stream is refused. Raises DataCorrupt, Unavailable.
    """
    where = path(sequencer, ManifestNumber(NO_MANIFEST + 1))
    try:
        data = yield Get(where)
    except NotFound:
        return None
    try:
        identity: str = unsealed(data, where)["stream"]["identity"]
    except (KeyError, TypeError) as error:
        raise incomplete(where, error) from None
    return identity


def head(sequencer: SequencerId, at_least: ManifestNumber = NO_MANIFEST) -> Steps[Head | None]:
    """What the newest record says; None where there is none. `at_least`: a number known to exist.

    Raises DataCorrupt, Unavailable.
    """
    number = yield from find_head(sequencer, at_least)
    if number == NO_MANIFEST:
        return None
    where = path(sequencer, number)
    values = unsealed((yield Get(where)), where)
    try:
        replay_offset, identity = values["replay_offset"], values["stream"]["identity"]
        if not is_offset(replay_offset) or not isinstance(identity, str):
            raise TypeError(f"replay offset {replay_offset!r}, identity {identity!r}")
    except (KeyError, TypeError) as error:
        raise incomplete(where, error) from None
    return Head(number, Offset(replay_offset), identity)


def is_offset(value: object) -> bool:
    """Of what JSON may give for a number: whole and not negative. True, 7.9 and 1e999 are no offsets."""
    return type(value) is int and value >= 0


def sealed(values: Mapping[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()
    return _HEAD % xxhash.xxh3_64_intdigest(body) + body + b"}"


def unsealed(data: bytes, where: str) -> dict[str, Any]:
    """The inverse. Raises DataCorrupt with what does not fit."""
    body = data[_HEAD_LENGTH:-1]
    if data[:_HEAD_LENGTH] != _HEAD % xxhash.xxh3_64_intdigest(body) or data[-1:] != b"}":
        raise DataCorrupt(
            f"manifest record {where} does not match its checksum; restore it from a copy of the store", path=where
        )
    values: dict[str, Any] = json.loads(body)
    if values.get("format") != FORMAT:
        raise DataCorrupt(
            f"manifest record {where}: format {values.get('format')}, this build reads {FORMAT}; use the release that "
            "wrote it",
            path=where,
        )
    return values


def incomplete(where: str, error: Exception) -> DataCorrupt:
    return DataCorrupt(f"manifest record {where} is not complete: {error!r}", path=where)


def _stands(sequencer: SequencerId, number: ManifestNumber) -> Steps[bool]:
    try:
        yield Get(path(sequencer, number))
    except NotFound:
        return False
    return True
