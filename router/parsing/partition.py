"""Which sequencer a series lives on. docs/formats/partitioning.md has the format and golden vectors.

series hash = xxh3-64 of the namespace, the table, then each tag's key and value in byte order of the keys; every string
unescaped UTF-8 after its length as u32 little endian. sequencer = series hash modulo the number of sequencers.
"""

from collections.abc import Iterator

import xxhash

from common.values.ids import SequencerId
from router.lineprotocol.point import Tags


def series_hash(namespace: str, table: str, tags: Tags) -> int:
    """The hash of one series, 0..2^64-1. `tags` must be sorted by key."""
    strings = _strings(namespace, table, tags)
    return xxhash.xxh3_64_intdigest(b"".join(len(raw).to_bytes(4, "little") + raw for raw in strings))


def sequencer_of(series_hash: int, sequencers: int) -> SequencerId:
    """The sequencer of a series, for a cluster of that many."""
    return SequencerId(series_hash % sequencers)


def _strings(namespace: str, table: str, tags: Tags) -> Iterator[bytes]:
    yield namespace.encode()
    yield table.encode()
    for key, value in tags:
        yield key.encode()
        yield value.encode()
