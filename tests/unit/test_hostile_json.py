"""JSON from outside that is nested or has numbers without end: each reader answers with its own error."""

from collections.abc import Callable

import pytest
import xxhash

from common.catalog import cluster, table_schema
from common.catalog.manifest import envelope
from common.reading import Ticket
from common.values.errors import DataCorrupt, InvalidRequest, PenstockError
from writebuffer.file import buffer_json
from writebuffer.redis.backend import RedisBackend

NESTED = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 100_000
TICKET = b'{"namespace": "n", "table": "t", "timeout_s": %s}'


def sealed(body: bytes) -> bytes:
    """A manifest record under a true checksum."""
    return b'{"xxh3":"%016x","record":' % xxhash.xxh3_64_intdigest(body) + body + b"}"


@pytest.mark.parametrize("data", [NESTED, DIGITS, b"[1]", b'{"format": ' + NESTED + b"}", b"", b"nul"])
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda data: cluster.parse(data, "cluster.json"), DataCorrupt),
        (lambda data: table_schema.from_json(data, "schema"), DataCorrupt),
        (lambda data: envelope.unsealed(sealed(data), "manifest"), DataCorrupt),
        (lambda data: buffer_json._parse(data, "buffer.json"), DataCorrupt),
        (lambda data: RedisBackend.from_url("redis://127.0.0.1:1")._parse(data), DataCorrupt),
        (Ticket.from_bytes, InvalidRequest),
        (lambda data: Ticket.from_bytes(TICKET % data), InvalidRequest),
        (lambda data: Ticket.from_bytes(TICKET % (data[:400] or b"?")), InvalidRequest),
    ],
    ids=[
        "cluster.json",
        "schema",
        "manifest record",
        "buffer.json",
        "Redis key",
        "ticket",
        "number of a ticket",
        "large number of a ticket",
    ],
)
def test_it_is_refused(read: Callable[[bytes], object], error: type[PenstockError], data: bytes) -> None:
    """Neither RecursionError nor OverflowError."""
    with pytest.raises(error):
        read(data)
