"""The partition function: golden vectors, and what must not change a series' place."""

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from common.entry import tag_values
from common.values.ids import SequencerId
from router.lineprotocol.point import LineError, Tags
from router.lineprotocol.scalar import parse_series
from router.parsing.lines.series_cache import NO_SERIES, SeriesCache
from router.parsing.partition import sequencer_of, series_hash

GOLDEN: list[tuple[str, str, Tags, int, list[int]]] = [
    ("", "", (), 0xC77B3ABB6F87ACD9, [0, 1, 1, 9, 560]),
    ("metrics", "cpu", (), 0x3ED6FAABE85AD5CB, [0, 1, 3, 11, 664]),
    ("metrics", "cpu", (("host", "a"),), 0x1C10E40F3A7605FB, [0, 1, 3, 11, 311]),
    ("metrics", "cpu", (("host", "a"), ("region", "eu")), 0xACDFB0E21414B762, [0, 0, 2, 2, 113]),
    ("metrics", "cpuhost", (("a", "region"),), 0x6FC0301E2FA32987, [0, 1, 3, 7, 482]),
    ("größe", "→", (("ü", "ö"), ("😀", "💧")), 0xC739B107281A2719, [0, 1, 1, 9, 39]),
    (
        "n",
        "t",
        (("A", "1"), ("a", "1"), ("é", "1"), ("\uffff", "1"), ("\U00010000", "1")),
        0x37EBF9D622868816,
        [0, 0, 2, 6, 137],
    ),
    ("../../etc", "m, =\\", (("k", "v\n"),), 0xCFBD2BAB62F39DA0, [0, 0, 0, 0, 872]),
]


@pytest.mark.parametrize(("namespace", "table", "tags", "hashed", "places"), GOLDEN)
def test_golden_vectors_hold(namespace: str, table: str, tags: Tags, hashed: int, places: list[int]) -> None:
    """These series hash and go exactly where docs/formats/partitioning.md says, in every release."""
    assert series_hash(namespace, table, tags) == hashed
    assert [sequencer_of(hashed, count) for count in (1, 2, 4, 16, 999)] == places


def test_the_bytes_hashed_are_those_documented() -> None:
    """The document's example bytes give the third golden vector."""
    raw = bytes.fromhex("07000000 6d657472696373 03000000 637075 04000000 686f7374 01000000 61")
    assert xxhash.xxh3_64_intdigest(raw) == GOLDEN[2][3]


def test_the_order_of_tags_as_written_does_not_matter() -> None:
    """Two spellings of one series, tags in any order and escapes as needed, live on one sequencer."""
    series = SeriesCache(999).of("n")
    one, other = series.numbers([rb"t,a=1,b=\,,c=3", rb"t,c=3,b=\,,a=1"], is_known).tolist()
    assert series.family(one) is series.family(other)
    assert series.family(one).tag_keys == ("a", "b", "c")
    assert series.tag_values[one] == series.tag_values[other]
    tags = (("a", "1"), ("b", ","), ("c", "3"))
    assert series.sequencer(one) == series.sequencer(other) == sequencer_of(series_hash("n", "t", tags), 999)


def test_tags_are_ordered_by_the_bytes_of_their_keys() -> None:
    """Keys sort as UTF-8, where a character outside the basic plane comes after U+FFFF, unlike in UTF-16."""
    keys = [key for key, _ in parse_series("t,\U00010000=1,\uffff=1,é=1,a=1,A=1".encode()).tags]
    assert keys == sorted(keys, key=str.encode)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)


@given(st.lists(st.tuples(names, names, st.dictionaries(names, names, max_size=2)), min_size=2, max_size=2))
def test_different_series_hash_differently(pair: list[tuple[str, str, dict[str, str]]]) -> None:
    """No two series share the hashed bytes: lengths keep neighbouring strings apart."""
    (ns1, table1, tags1), (ns2, table2, tags2) = pair
    hashes = [series_hash(ns, table, tuple(sorted(tags.items()))) for ns, table, tags in pair]
    assert (hashes[0] == hashes[1]) == ((ns1, table1, tags1) == (ns2, table2, tags2))


def test_the_cache_forgets_when_full_and_gives_the_same_answers() -> None:
    """A bounded cache that is emptied changes nothing about where series live."""
    small, large = SeriesCache(999, bytes_max=2000), SeriesCache(999)
    raws = [f"t,host={number % 50}".encode() for number in range(500)]
    assert [placed(small, "n", raw) for raw in raws] == [placed(large, "n", raw) for raw in raws]
    assert (len(small.of("n")), len(large.of("n"))) == (0, 50)


@given(st.lists(st.tuples(names, st.dictionaries(names, names, max_size=3)), max_size=30))
def test_series_are_placed_together_as_they_are_alone(series: list[tuple[str, dict[str, str]]]) -> None:
    """However many names are placed at once, each has the family, values and sequencer of its own."""
    raws = [raw for table, tags in series if (raw := written(table, tags)) is not None]
    cache = SeriesCache(7).of("n")
    for raw, number in zip(raws, cache.numbers(raws, is_known).tolist(), strict=True):
        parsed = parse_series(raw)
        assert cache.family(number).table == parsed.table
        assert cache.family(number).tag_keys == tuple(key for key, _ in parsed.tags)
        assert cache.tag_values[number] == tag_values([value for _, value in parsed.tags])
        assert cache.sequencer(number) == sequencer_of(series_hash("n", parsed.table, parsed.tags), 7)


def test_a_name_of_an_unknown_table_is_not_remembered() -> None:
    """Only a table that is known, or that was checked, may take memory."""
    series = SeriesCache(4).of("n")
    assert series.numbers([b"t,a=b"], lambda table: False).tolist() == [NO_SERIES]
    assert len(series) == 0
    assert series.number(b"t,a=b", lambda table: None) == 0
    assert series.numbers([b"t,a=b", b"t,a="], is_known).tolist() == [0, NO_SERIES]


def test_one_raw_name_in_two_namespaces_is_two_series() -> None:
    """The cache keeps namespaces apart, as the hash does."""
    cache = SeriesCache(999)
    assert placed(cache, "a", b"t") != placed(cache, "b", b"t")


def placed(cache: SeriesCache, namespace: str, raw: bytes) -> SequencerId:
    series = cache.of(namespace)
    return series.sequencer(series.number(raw, lambda table: None))


def written(table: str, tags: dict[str, str]) -> bytes | None:
    """As a client writes it, where that is a series."""
    raw = ",".join([_escaped(table), *(f"{_escaped(key)}={_escaped(value)}" for key, value in tags.items())]).encode()
    try:
        parse_series(raw)
    except LineError:
        return None
    return raw


def _escaped(text: str) -> str:
    return text.replace(",", "\\,").replace(" ", "\\ ").replace("=", "\\=")


def is_known(table: str) -> bool:
    return True
