"""The language of scenarios: one step a line, or several with commas between them.

    write cpu@0 mem@0             one record with two rows; cpu@1d5/b=2: table cpu, day 1 and second 5, host b, value 2
    poll, cut cpu                 the ingester reads; a persist job is cut for the partitions of cpu
    persist, commit               the job's file is put, then the manifest's record
    crash, poll                   the process is killed, another one claims the sequencer and reads again
    expect buffered 1, expect durable 1

A line may begin with who does it, `B: commit`, and with how often, `40 times write cpu@{n}, poll`: {n} counts from 0.
A step may end with the error it must raise: `commit raises Fenced`. What follows a # is for the reader.
The verbs are in verbs.py, what can be expected in facts.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from common.values.schema import DAY_NS
from tests.support.ingester_rig import SECOND_NS
from tests.support.records import DAY0_NS, Row, row

OPTIONS = ("at", "producer", "sequence", "skip")
"""Of a record: append time in seconds, whose it is, and how many offsets are left out before it."""


class WrongStep(Exception):
    """A line that says nothing: the scenario has to be changed, not the code."""


@dataclass(frozen=True)
class Step:
    """actor: who does it, empty for the one there is. raises: the name of the error it must end with, or empty."""

    line: str
    actor: str
    verb: str
    words: tuple[str, ...]
    raises: str = ""


def parse(text: str) -> Iterator[Step]:
    """The steps in order. Raises WrongStep."""
    for full_line in text.splitlines():
        line = full_line.partition("#")[0].strip()
        if line:
            yield from _steps(line)


def _steps(line: str) -> Iterator[Step]:
    found = re.fullmatch(r"(?:(?P<actor>[A-Z]\w*): *)?(?:(?P<times>\d+) times +)?(?P<steps>.+)", line)
    if found is None:
        raise WrongStep(f"no step: {line!r}")
    for number in range(int(found["times"] or 1)):
        for words in found["steps"].replace("{n}", str(number)).split(","):
            yield _step(line, found["actor"] or "", words.split())


def _step(line: str, actor: str, words: list[str]) -> Step:
    if not words:
        raise WrongStep(f"nothing between two commas: {line!r}")
    raises = words.pop() if words[-2:-1] == ["raises"] else ""
    if raises:
        words.pop()
    verb, *rest = words or [""]
    return Step(line, actor, verb, tuple(rest), raises)


_ROW = re.compile(
    r"(?P<table>\w+)(?:\[(?P<first>\d+)-(?P<last>\d+)\])?@(?P<time>[^/=]+)(?:/(?P<host>\w+))?(?:=(?P<value>.+))?"
)
_TIME = re.compile(r"(?:(?P<day>-?\d+)d)?(?P<second>-?\d+)?")
_ENDS = {"min": -(2**63), "max": 2**63 - 1}


def tables_of(words: tuple[str, ...]) -> dict[str, list[Row]]:
    """The rows of a record: TABLE@TIME, /HOST where it is not a, =VALUE or =FIELD:VALUE where it is not v:1.

    t[0-99]@0 is a row in each of the tables t0 to t99. Raises WrongStep.
    """
    tables: dict[str, list[Row]] = {}
    for word in words:
        found = _ROW.fullmatch(word)
        if found is None:
            raise WrongStep(f"no row: {word!r}; it is TABLE@TIME/HOST=VALUE")
        field, _, value = (found["value"] or "v:1").rpartition(":")
        names = [found["table"]]
        if found["first"]:
            names = [f"{found['table']}{n}" for n in range(int(found["first"]), int(found["last"]) + 1)]
        for name in names:
            one = row(time_ns(found["time"]), found["host"] or "a", **{field or "v": float(value)})
            tables.setdefault(name, []).append(one)
    return tables


def time_ns(word: str) -> int:
    """min and max are the ends of time, else days and seconds since the scenario's first instant: 5, 1d, -1d5."""
    if word in _ENDS:
        return _ENDS[word]
    found = _TIME.fullmatch(word)
    if found is None or not word:
        raise WrongStep(f"no time: {word!r}; it is min, max, 5, 1d or 1d5")
    return DAY0_NS + int(found["day"] or 0) * DAY_NS + int(found["second"] or 0) * SECOND_NS


def options_of(words: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The words that are rows, and the others as the arguments of an append. Raises WrongStep."""
    rows = tuple(word for word in words if "@" in word)
    options = {}
    for word in words:
        if word in rows:
            continue
        name, _, value = word.partition("=")
        if name not in OPTIONS or not re.fullmatch(r"-?\d+", value):
            raise WrongStep(f"neither a row nor an option of a record: {word!r}; options are {', '.join(OPTIONS)}")
        options[name] = int(value)
    if "at" in options:
        options["append_time_ns"] = DAY0_NS + options.pop("at") * SECOND_NS
    return rows, options


def number(words: tuple[str, ...], otherwise: int) -> int:
    """The only word, a whole number. Raises WrongStep."""
    if not words:
        return otherwise
    if len(words) > 1 or not re.fullmatch(r"-?\d+", words[0]):
        raise WrongStep(f"not one whole number: {' '.join(words)!r}")
    return int(words[0])
