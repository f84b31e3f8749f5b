"""The harness of the scenarios itself: what it refuses, what it finds, and that it does what a line says."""

import re
from pathlib import Path

import numpy as np
import pytest

from common.catalog.manifest import manifest
from common.catalog.manifest.frontier import Frontier
from common.store.objects import ObjectStore, Steps
from common.values.schema import DAY_NS
from ingester.core.events import Outcome, Persist
from ingester.core.jobs import Jobs
from ingester.performing import StoreAction, perform
from tests.scenarios import facts
from tests.scenarios.crashing import crash_everywhere
from tests.scenarios.language import Step, WrongStep, parse, tables_of, time_ns
from tests.scenarios.scenario import Failed, Scenario, play
from tests.scenarios.verbs import VERBS
from tests.support import ingester_rig
from tests.support.dict_store import DictStore
from tests.support.records import DAY0_NS, row


def test_a_line_is_steps_of_somebody_so_many_times() -> None:
    text = """
        # nothing
        B: 2 times write cpu@{n}, poll 3  # a reason
        commit raises Fenced
    """
    steps = [(step.actor, step.verb, step.words, step.raises) for step in parse(text)]
    assert steps == [
        ("B", "write", ("cpu@0",), ""),
        ("B", "poll", ("3",), ""),
        ("B", "write", ("cpu@1",), ""),
        ("B", "poll", ("3",), ""),
        ("", "commit", (), "Fenced"),
    ]
    assert isinstance(next(parse(text)), Step)


def test_a_row_has_a_table_a_time_a_host_and_a_value() -> None:
    assert tables_of(("cpu@5", "cpu@1d5/b=w:2", "t[8-9]@min=3")) == {
        "cpu": [row(DAY0_NS + 5 * 10**9, "a", v=1.0), row(DAY0_NS + DAY_NS + 5 * 10**9, "b", w=2.0)],
        "t8": [row(-(2**63), "a", v=3.0)],
        "t9": [row(-(2**63), "a", v=3.0)],
    }
    assert [time_ns(word) - DAY0_NS for word in ("-1d", "-3", "2d1")] == [-DAY_NS, -3 * 10**9, 2 * DAY_NS + 10**9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wrote cpu@0", "no step: 'wrote'"),
        ("write cpu", "neither a row nor an option"),
        ("write cpu@", "no row: 'cpu@'"),
        ("write cpu@noon", "no time: 'noon'"),
        ("write cpu@0 at=noon", "neither a row nor an option"),
        ("poll soon", "not one whole number: 'soon'"),
        ("poll,, tick", "nothing between two commas"),
        ("expect luck 7", "nothing to expect: 'luck 7'"),
        ("B: poll", "nobody is called B"),
        ("A: claim", "A has a sequencer already"),
        ("poll raises Hell", "no error is called 'Hell'"),
        ("cut", "cut TABLE"),
        ("crash softly", "crash, or crash accept-loss"),
    ],
)
def test_a_wrong_line_is_refused(text: str, message: str) -> None:
    """A scenario with a slip of the pen never passes for one that holds."""
    with pytest.raises(WrongStep, match=re.escape(message)):
        Scenario().do(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("write cpu@0, poll, expect buffered 2", "buffered is 1"),
        ("write cpu@0, poll, expect buffered at most 0", "buffered is 1"),
        ("write cpu@0, poll, expect buffered at least 2", "buffered is 1"),
        ("write cpu@0, poll, expect value cpu@0=2", "its fields are {'v': 1.0}"),
        ("expect value cpu@0", "no such row is read"),
        ("write cpu@0, poll, expect no value cpu@0", "its fields are"),
        ("crash raises Forked", "it did not raise Forked"),
        ("write cpu@0, poll, persist", "no such job was handed out"),
        ("write cpu@0, poll, cut mem", "no job was cut"),
        ("write cpu@0, poll, cut cpu, commit", "no commit was asked for"),
        ("lose cpu", "it has no file"),
        ("write cpu@0, poll, cold, replay", "nothing is lacking"),
        ("write cpu@0, trim 1, poll", "offset 0 was trimmed"),
    ],
)
def test_a_step_that_does_not_hold_is_named(text: str, message: str) -> None:
    """With the line it is in and what was found."""
    with pytest.raises(Failed, match=re.escape(message)) as raised:
        Scenario().do(text)
    assert repr(text) in str(raised.value)


def test_rows_that_are_applied_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an ingester that knows no frontier: it counts durable rows again."""
    steps = "write mem@0, write cpu@0, poll, cut cpu, persist, commit, crash, poll"
    play(steps)
    monkeypatch.setattr(Frontier, "covered", lambda self, offsets, times_ns: np.zeros(len(times_ns), bool))
    with pytest.raises(AssertionError):
        play(steps)


def test_rows_that_are_left_out_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By one that takes rows for durable which are in no file."""
    steps = "write cpu@0 cpu@9, poll, cut cpu until 5, persist, commit, crash, poll"
    play(steps)
    monkeypatch.setattr(Frontier, "covered", lambda self, offsets, times_ns: np.ones(len(times_ns), bool))
    with pytest.raises(AssertionError):
        play(steps)


def test_jobs_that_are_committed_in_the_wrong_order_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The corner of the second covers the rows of the first, which no file has."""
    steps = "write cpu@0, poll, cut cpu, write cpu@1, poll, cut cpu, persist newest, commit, crash, poll"
    with pytest.raises(Failed, match="no commit was asked for"):
        play(steps)
    done = lambda jobs: tuple(number for number, running in jobs._running.items() if running.result)
    monkeypatch.setattr(Jobs, "committable", done)
    with pytest.raises(Failed, match=r"^commit"):
        play(steps)


def test_an_older_ingester_that_is_not_fenced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes whatever record has its number for its own: its rows are nowhere."""
    steps = "write cpu@0, poll, cut cpu, persist\nB: claim\nA: commit raises Fenced"
    play(steps)

    def any_record(*_: object) -> Steps[bool]:
        yield from ()
        return True

    monkeypatch.setattr(manifest, "_is_own", any_record)
    with pytest.raises(Failed, match=r"^commit"):
        play(steps)


def test_what_only_a_crash_shows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is put after the record which names it: whoever is not killed in between never sees that."""
    steps = "write cpu@0, poll, cut cpu, persist, commit"
    assert crash_everywhere(steps) == ["before data", "after data", "before manifest", "after manifest"]
    monkeypatch.setattr(ingester_rig, "perform", PutsFilesLate())
    play(steps)
    with pytest.raises(AssertionError, match=r"point 1 \(after manifest\)"):
        crash_everywhere(steps)


class PutsFilesLate:
    """In place of perform: what a job puts is in the store only once the next commit is."""

    def __init__(self) -> None:
        self._held = DictStore()

    def __call__(self, action: StoreAction, store: ObjectStore) -> Outcome:
        if isinstance(action, Persist):
            return perform(action, self._held)
        held, self._held = self._held, DictStore()
        outcome = perform(action, store)
        for path, data in held.objects.items():
            store.put(path, data)
        return outcome


def test_every_scenario_uses_verbs_and_facts_that_exist_and_each_is_used() -> None:
    """None is there in vain: the language is no larger than its scenarios."""
    folder = Path(__file__).parent
    texts = " ".join(path.read_text() for path in folder.glob("test_*.py") if path.name != "test_language.py")
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", texts), f"no scenario has the step {verb}"
    for fact in facts.FACTS:
        assert re.search(rf"expect {fact}\b", texts), f"no scenario expects {fact}"


def test_each_verb_says_what_it_does() -> None:
    assert all(verb.__doc__ for verb in VERBS.values())
