"""A parser gives for any bodies what the model gives: values by bits, errors, line numbers, columns and order."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings

from router.parsing.batch import BatchParser
from router.parsing.messages import Body, ParsedBatch
from tests.support.campaign import campaign, seeds
from tests.support.figures import record_figure
from tests.support.lines.equality import Batch, Different, Tally, check, run
from tests.support.lines.grammar import Grammar
from tests.support.lines.limits import ForgetfulParser, lines_at_once, small_limits
from tests.support.lines.strategies import batches
from tests.support.reference_batch import Outcome, assert_equal, found

LINES = 2_500
"""Of one seed in every run; a campaign has LINES_LONG."""

LINES_LONG = 10_000


def covered(seed: int, lines: int) -> Tally:
    """What a run of that seed covered. AssertionError with a small input.

    Each second run has small limits; of the others each second one reads also few lines all at once.
    """
    is_small = seed % 2 == 1
    limits = small_limits(random.Random(seed)) if is_small else lines_at_once() if seed % 4 == 2 else nullcontext()
    with limits:
        try:
            return run(seed, lines, ForgetfulParser if is_small and seed % 4 == 1 else BatchParser)
        except Different as difference:
            raise AssertionError(f"seed {seed}: {difference.report()}") from None


def check_both(batch: Batch) -> None:
    """With few lines one by one, and all at once."""
    check(batch)
    with lines_at_once():
        check(batch)


@pytest.mark.parametrize("seed", range(12))
def test_bodies_by_seed_are_parsed_as_the_model_says(seed: int) -> None:
    """Lines of real shapes and odd ones of every kind, in bodies and batches of many sizes."""
    record_figure(f"equal to the model: {covered(seed, LINES)}")


@given(batches)
def test_any_bodies_are_parsed_as_the_model_says(batch: Batch) -> None:
    """Whatever is drawn; a failing batch is made smaller by hypothesis."""
    check_both(batch)


@campaign
def test_a_million_lines_are_parsed_as_the_model_says() -> None:
    """The same over a million lines, a share of them in CI; all seeds that differ are counted."""
    whole, differences = Tally(), []
    for seed in range(100, 100 + seeds() * 200 // LINES_LONG):
        try:
            whole.add(covered(seed, LINES_LONG))
        except AssertionError as difference:
            differences.append(str(difference))
    record_figure(f"equal to the model: {whole}; differences: {len(differences)}")
    assert not differences, f"{len(differences)} seeds differ; the first of them:\n" + "\n\n".join(differences[:5])


@campaign
def test_any_number_of_bodies_are_parsed_as_the_model_says() -> None:
    """As many drawn batches as the campaign asks for."""

    @settings(max_examples=seeds())
    @given(batches)
    def each(batch: Batch) -> None:
        check_both(batch)

    each()


Rewrite = Callable[[bytes], bytes]

MISTAKES: dict[str, Rewrite] = {
    "a carriage return is blank": lambda data: data.replace(b"\r", b" "),
    "a carriage return at a line's end belongs to it": lambda data: data.replace(b"\r\n", b"\r\r\n"),
    "a tab is a space": lambda data: data.replace(b"\t", b" "),
    "NUL is left out": lambda data: data.replace(b"\0", b""),
    "NUL ends a body": lambda data: data.partition(b"\0")[0],
    "control characters are left out": lambda data: data.replace(b"\x01", b"").replace(b"\x1f", b""),
    "invalid UTF-8 is replaced": lambda data: data.decode(errors="replace").encode(),
    "surrogates are allowed": lambda data: data.replace(b"\xed\xa0\x80", b"x"),
    "a byte order mark is left out anywhere": lambda data: data.replace(b"\xef\xbb\xbf", b""),
    "all marks at the start are left out": lambda data: data.removeprefix(b"\xef\xbb\xbf" * 2),
    "a doubled backslash is one": lambda data: data.replace(b"\\\\", b"\\"),
    "an escaped comma is a comma": lambda data: data.replace(b"\\,", b","),
    "an escaped space is a space": lambda data: data.replace(b"\\ ", b" "),
    "an escaped equals sign is one": lambda data: data.replace(b"\\=", b"="),
    "an escaped quote is a quote": lambda data: data.replace(b'\\"', b'"'),
    "a backslash before a newline continues the line": lambda data: data.replace(b"\\\n", b"\\"),
    "two spaces are one": lambda data: data.replace(b"  ", b" "),
    "a comment begins anywhere": lambda data: b"\n".join(line.partition(b" #")[0] for line in data.split(b"\n")),
    "an indented comment is none": lambda data: data.replace(b"  #", b"  x"),
    "a quote in a comment is a quote": lambda data: data.replace(b"# ", b"m "),
    "blank lines are not counted": lambda data: data.replace(b"\n\n", b"\n"),
    "a plus sign is allowed": lambda data: data.replace(b"=+", b"="),
    "hexadecimal is allowed": lambda data: data.replace(b"=0x1", b"=1"),
    "minus zero is zero": lambda data: data.replace(b"=-0.0", b"=0.0").replace(b"=-0 ", b"=0 "),
    "nan is a number": lambda data: data.replace(b"=nan", b"=1").replace(b"=NaN", b"=1"),
    "inf is a number": lambda data: data.replace(b"=inf", b"=1"),
    "a point needs a digit before it": lambda data: data.replace(b"=.5", b"=x"),
    "a point needs a digit after it": lambda data: data.replace(b"=1.,", b"=x,").replace(b"=1. ", b"=x "),
    "underscores are allowed": lambda data: data.replace(b"1_0", b"10"),
    "what overflows a float is its largest": lambda data: data.replace(b"=1e999", b"=1e308"),
    "what underflows is refused": lambda data: data.replace(b"=1e-999", b"=x"),
    "minus zero is unsigned": lambda data: data.replace(b"=-0u", b"=0u"),
    "the largest integer is one more": lambda data: data.replace(b"9223372036854775808i", b"9223372036854775807i"),
    "the largest unsigned is one more": lambda data: data.replace(b"18446744073709551616u", b"18446744073709551615u"),
    "booleans are of any case": lambda data: data.replace(b"=tRUE", b"=true").replace(b"=fAlSe", b"=false"),
    "time is a field": lambda data: data.replace(b"time=", b"Time="),
    "utc_day is a field": lambda data: data.replace(b"utc_day=", b"Utc_day="),
    "a trailing comma is left out": lambda data: data.replace(b", ", b" "),
    "a body's last line needs a newline": lambda data: data[: data.rfind(b"\n") + 1],
}  # fmt: skip


class Rewriting(BatchParser):
    """A parser with a mistake: it reads other bodies than those it was given."""

    def __init__(self, sequencers: int, rewrite: Rewrite) -> None:
        super().__init__(sequencers)
        self._rewrite = rewrite

    def parse(self, namespace: str, bodies: Sequence[Body], *more: Any, **options: Any) -> ParsedBatch:
        others = [dataclasses.replace(body, data=self._rewrite(body.data)) for body in bodies]
        return super().parse(namespace, others, *more, **options)


@pytest.fixture(scope="module")
def odd_batches() -> list[tuple[Batch, Outcome]]:
    """A few thousand lines, with what the model says of them."""
    chosen = []
    for seed in range(100):
        grammar = Grammar(random.Random(seed), 1)
        batch = Batch("ns", 1, [dataclasses.replace(grammar.body(size), all_or_nothing=False) for size in (1, 2, 100)])
        chosen.append((batch, check(batch)))
    return chosen


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_parser_with_a_mistake_is_found(mistake: str, odd_batches: list[tuple[Batch, Outcome]]) -> None:
    """A few thousand odd lines have every syntax in so many places that each mistake shows."""
    parser = Rewriting(1, MISTAKES[mistake])

    def is_different(batch: Batch, model: Outcome) -> bool:
        try:
            assert_equal(model, found("ns", parser.parse("ns", batch.bodies, {})))
        except AssertionError:
            return True
        return False

    assert any(is_different(*one) for one in odd_batches)


def test_a_difference_is_reported_with_a_small_input() -> None:
    """Bodies, lines and bytes that do not count are left out of the report."""
    noise = b"cpu,host=a usage=1.5 5\n" * 50
    bodies = [Body(noise, 1, 0), Body(noise + b'cpu,host=b usage=1,other=+7,note="x y" 5\n' + noise, 1, 0)]
    with pytest.raises(Different) as difference:
        check(Batch("ns", 2, bodies), lambda sequencers: Rewriting(sequencers, MISTAKES["a plus sign is allowed"]))
    assert "body 1: refused: 0, not 1" in difference.value.report()
    assert len(difference.value.report()) < 300
