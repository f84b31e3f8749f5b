"""An entry of packed rows as rows, as the bytes of its parts, and with lies under true sums."""

import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import entry
from tests.support.entry_bytes import Envelope, PackedTable, series_bytes, shape_bytes
from tests.support.records import Row, Unsigned, rows_of

GOLDEN = Path(__file__).parent.parent / "golden" / "entry_v2.bin"
"""SAMPLE as the first release wrote it."""

CPU = [
    Row(
        1_700_000_000_000_000_003,
        {"host": "a", "zone": "z"},
        {"bytes": Unsigned(0), "jiffies": -(2**63), "load": 0.5, "more": "", "note": "", "up": True},
    ),
    Row(1_700_000_000_000_000_001, {"host": "b"}, {"note": "naïve ☃", "more": "m"}),
    Row(
        -5,
        {"host": "a", "zone": "z"},
        {"bytes": Unsigned(2**64 - 1), "jiffies": 2**63 - 1, "load": float("-inf"), "up": False},
    ),
]
DISK = [Row(7, {}, {"free": 123})]
SAMPLE = {"cpu": CPU, "disk, sda": DISK}


CPU_SHAPE = shape_bytes(
    b"cpu",
    [b"host", b"zone"],
    [(3, b"bytes"), (2, b"jiffies"), (1, b"load"), (4, b"more"), (4, b"note"), (5, b"up")],
)
INFINITE = struct.unpack("<Q", struct.pack("<d", float("-inf")))[0]
HALF = struct.unpack("<Q", struct.pack("<d", 0.5))[0]
CPU_PARTS = {
    "times": struct.pack("<3q", *(row.time_ns for row in CPU)),
    "values": struct.pack("<6Q", 0, 2**63, HALF, 0, 0, 1)
    + struct.pack("<6Q", 0, 0, 0, 1, 10, 0)
    + struct.pack("<6Q", 2**64 - 1, 2**63 - 1, INFINITE, 0, 0, 0),
    "series_of_row": struct.pack("<3I", 0, 1, 0),
    "lengths": struct.pack("<I", 6),
    "presence": bytes([0b111111, 0b011000, 0b100111]),
    "series": series_bytes(b"a", b"z") + series_bytes(b"b", b""),
    "strings": "mnaïve ☃".encode(),
    "padding": bytes(7),
}
CPU_TABLE = PackedTable(CPU_SHAPE, 3, 2, 11, 11, 3, -5, 1_700_000_000_000_000_003)
DISK_TABLE = PackedTable(shape_bytes(b"disk, sda", [], [(2, b"free")]), 1, 1, 0, 0, 2, 7, 7)
DISK_BODY = struct.pack("<qQII", 7, 123, 0, 0)


def decoded(payload: bytes) -> dict[str, list[Row]]:
    """Rows by table, from batches that are valid."""
    found = entry.decode(payload)
    for each in found.tables.values():
        each.validate(full=True)
    return {table: rows_of(each) for table, each in found.tables.items()}


def sample() -> Envelope:
    """SAMPLE, made by hand from docs/formats/entry.md."""
    raw = b"".join(CPU_PARTS.values()) + DISK_BODY
    return Envelope("metrics/ä".encode(), [CPU_TABLE, DISK_TABLE], raw, version=2)


def lying(table: Mapping[str, Any] | None = None, **parts: bytes) -> Envelope:
    """True sums around `cpu` alone, but for changes of its header and of parts of its block."""
    return Envelope(b"n", [replace(CPU_TABLE, **(table or {}))], b"".join({**CPU_PARTS, **parts}.values()), version=2)
