"""Which records of a producer were seen: a table of ranges behaves like a set of sequences."""

import json

from hypothesis import given
from hypothesis import strategies as st

from common.catalog.manifest.producers import EXPIRY_NS, RANGES_MAX, Producers

A, B = b"a" * 16, b"b" * 16

appearances = st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 30)), max_size=60)


def table(seen: list[tuple[bytes, int]], log_time_ns: int = 0) -> Producers:
    producers = Producers()
    for producer, sequence in seen:
        producers.add(producer, sequence, log_time_ns)
    return producers


@given(appearances)
def test_seen_is_what_was_added(added: list[tuple[bytes, int]]) -> None:
    """In any order, holes and repeats included, exactly the sequences added are seen."""
    producers = table(added)
    for producer in (A, B):
        assert {n for n in range(32) if producers.seen(producer, n, 0)} == {n for p, n in added if p == producer}


@given(appearances)
def test_the_table_survives_the_manifest(added: list[tuple[bytes, int]]) -> None:
    """Written as JSON and read again it is the same table."""
    values = json.loads(json.dumps(table(added, 7).to_json()))
    assert Producers.from_json(values).to_json() == values


@given(appearances)
def test_order_does_not_matter(added: list[tuple[bytes, int]]) -> None:
    """The same appearances make the same table: what was rebuilt from the stream equals what was kept."""
    assert sorted(table(added).to_json().items()) == sorted(table(sorted(added)).to_json().items())


def test_k_plus_1_before_k_is_no_duplicate() -> None:
    """A hole stays open until its own record comes."""
    producers = table([(A, 0), (A, 2)])
    assert not producers.seen(A, 1, 0)
    producers.add(A, 1, 0)
    assert producers.to_json()[A.hex()]["ranges"] == [[0, 2]]


def test_too_many_holes_forget_the_oldest_sequences_and_no_first_appearance() -> None:
    """Bounded: the lowest range is given up, and what was never seen is never called seen."""
    producers = table([(A, 2 * n) for n in range(RANGES_MAX + 3)])
    ranges = producers.to_json()[A.hex()]["ranges"]
    assert len(ranges) == RANGES_MAX
    assert ranges[0] == [6, 6]
    assert not any(producers.seen(A, 2 * n + 1, 0) for n in range(RANGES_MAX + 3))


def test_a_silent_producer_is_forgotten_by_log_time() -> None:
    """Exactly beyond EXPIRY_NS, counted from its last record, and no other with it."""
    producers = table([(A, 1)], 100)
    producers.add(B, 1, 101)
    producers.expire(100 + EXPIRY_NS)
    assert len(producers) == 2
    producers.expire(101 + EXPIRY_NS)
    assert not producers.seen(A, 1, 101 + EXPIRY_NS)
    assert producers.seen(B, 1, 101 + EXPIRY_NS)


def test_forgetting_does_not_depend_on_when_the_table_was_cleaned() -> None:
    """A table that was expired at a commit and one that never was give the same answers: a replay decides alike."""
    cleaned, kept = table([(A, 1), (A, 2)]), table([(A, 1), (A, 2)])
    cleaned.expire(EXPIRY_NS + 1)
    for producers in (cleaned, kept):
        assert not producers.seen(A, 2, EXPIRY_NS + 1)
        producers.add(A, 7, EXPIRY_NS + 1)
        assert not producers.seen(A, 2, EXPIRY_NS + 1)
    assert cleaned.to_json() == kept.to_json()


def test_a_copy_is_its_own() -> None:
    """Adding to a copy leaves the original alone: manifest states are values."""
    one = table([(A, 1)])
    other = one.copy()
    other.add(A, 2, 5)
    assert one.to_json() == {A.hex(): {"ranges": [[1, 1]], "last_ns": 0}}
