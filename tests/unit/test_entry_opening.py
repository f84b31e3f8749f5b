"""Entries opened at once are as opened alone; what is not plainly right is left to be opened alone."""

import random
from collections.abc import Mapping, Sequence

from common.entry import Entry, encode
from common.entry.decoding import Packed, open_entry
from common.entry.packed_opening import open_packed
from common.values.errors import DataCorrupt
from ingester.following.decode import opened, opened_together
from tests.support.packed import packed_payload
from tests.support.records import DAY0_NS, Row, batch, headers, row
from writebuffer.record import Record, header_columns

ROWS: Mapping[str, Sequence[Row]] = {"cpu": [row(DAY0_NS, "a", v=1.0)], "disk": [row(DAY0_NS, "b", text="x")]}
GOOD = packed_payload("n", ROWS)
LONG = packed_payload("n", {"cpu": [row(DAY0_NS + n, "a", v=1.0) for n in range(1000)]})
STREAM = encode(Entry("n", {"cpu": batch(ROWS["cpu"])}))


def alone(payload: bytes) -> Packed | None:
    try:
        found = open_entry(payload)
    except DataCorrupt:
        return None
    return found if isinstance(found, Packed) else None


def test_what_is_opened_at_once_is_as_alone() -> None:
    """Neighbours change nothing, whether they are right, empty, compressed, of streams or of no tables."""
    payloads = [GOOD, b"", STREAM, packed_payload("größer", ROWS), GOOD[:20], LONG, packed_payload("n", {}), GOOD]
    found = open_packed(payloads)
    assert [at for at, each in enumerate(found) if each is not None] == [0, 3, 7]
    assert [found[at] for at in (0, 3, 7)] == [alone(payloads[at]) for at in (0, 3, 7)]
    assert open_packed([]) == []


def test_a_changed_byte_is_never_passed() -> None:
    """Every byte of a header and a body, changed, and every length: found at once only where alone finds the same."""
    drawn = random.Random(7)
    changed = [GOOD[:at] + bytes([GOOD[at] ^ drawn.randint(1, 255)]) + GOOD[at + 1 :] for at in range(len(GOOD))]
    payloads = [*changed, *(GOOD[:size] for size in range(len(GOOD))), GOOD + b"\0", GOOD]
    assert [*map(alone, payloads)] == open_packed(payloads)


def test_headers_are_those_of_each_record() -> None:
    """A namespace that is not the entry's or is no text, and any other content type, is left to be opened alone."""
    good = Record.of(headers("n", 1, 2**63 + 5, -7), GOOD)
    other = Record.of(headers("m", 2, 3, DAY0_NS), GOOD)
    no_text = Record(good.header_block[:-1] + b"\xff", GOOD)
    typed = Record.of(headers("n", 1, 0, 0)._replace(content_type="text/plain", trace_parent="00-1"), GOOD)
    records = [good, other, no_text, typed, good]
    assert opened_together(records) == [opened(good, open_entry), None, None, None, opened(good, open_entry)]
    assert header_columns(records).texts[2] is None
    assert header_columns([other, typed]).append_times_ns == [DAY0_NS, 0]
    assert opened_together([]) == []


def test_the_checksum_of_a_record_does_not_depend_on_its_size() -> None:
    """Small and large records have the sum of header block and payload."""
    for size in (0, 8191, 8192, 20_000):
        made = Record.of(headers("n", 1, 1, 1), bytes(size))
        assert made.checksum() == Record(made.to_bytes(), b"").checksum()
