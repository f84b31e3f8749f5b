"""The seal around each JSON object of the manifest: what was written is what is read, or DataCorrupt says where.

{"xxh3":"<16 hex>","record":{…}}     the sum over the bytes of the inner object
"""

import json
from collections.abc import Mapping
from typing import Any

import xxhash

from common.values.errors import DataCorrupt

FORMAT = 2
FORMATS = (1, 2)
"""1: records alone, some of which carry a full state. 2: with checkpoints."""

_HEAD = b'{"xxh3":"%016x","record":'
_HEAD_LENGTH = len(_HEAD % 0)


def sealed(values: Mapping[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()
    return _HEAD % xxhash.xxh3_64_intdigest(body) + body + b"}"


def unsealed(data: bytes, where: str) -> dict[str, Any]:
    """The inverse. Raises DataCorrupt with what does not fit."""
    body = data[_HEAD_LENGTH:-1]
    if data[:_HEAD_LENGTH] != _HEAD % xxhash.xxh3_64_intdigest(body) or data[-1:] != b"}":
        raise DataCorrupt(
            f"{where} does not match its checksum: it was damaged after it was written; restore it from a copy of the "
            "store",
            path=where,
        )
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise incomplete(where, error) from None
    if not isinstance(values, dict):
        raise incomplete(where, TypeError(f"{type(values).__name__} is no object"))
    if values.get("format") not in FORMATS:
        raise DataCorrupt(
            f"{where}: format {values.get('format')}, this build reads {' and '.join(map(str, FORMATS))}; use the "
            "release that wrote it",
            path=where,
        )
    return values


def incomplete(where: str, error: Exception) -> DataCorrupt:
    return DataCorrupt(f"{where} is not complete: {error!r}", path=where)


def is_offset(value: object) -> bool:
    """Of what JSON may give for a number: whole and not negative. True, 7.9 and 1e999 are no offsets."""
    return type(value) is int and value >= 0
