"""Running the conformance suite on write buffers, and its results: as values, as text, as JSON.

The suite runs in a process of its own (writebuffer/conformance/session.py), so that a backend that prints, hangs or
kills its process does not harm the report.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import IO, Any

from structlog.testing import capture_logs

from common.values.errors import InvalidRequest, Misconfigured, PenstockError
from common.values.shown import counted
from writebuffer.conformance import GROUPS
from writebuffer.conformance.subject import Subject
from writebuffer.proving import Breakable, HoldsBack

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
_STOP_S = 60.0
_PYTEST_USAGE = 4
_REASON_LINES = 4
_LINE_MAX = 200


@dataclass(frozen=True, slots=True)
class Case:
    """One test on one write buffer. reason: why it failed or was not run. detail: a failure in full."""

    url: str
    group: str
    about: str
    property: str
    name: str
    outcome: str
    reason: str
    detail: str
    seconds: float


@dataclass(slots=True)
class Found:
    """The results of one write buffer so far."""

    url: str
    powers: list[str]
    hooks: list[str]
    cases: list[Case] = field(default_factory=list)
    ended: str = ""
    """Why there are no more cases, where the run ended early."""

    @classmethod
    def of(cls, subject: Subject) -> "Found":
        """Raises Misconfigured or Unavailable where the suite cannot be run on it."""
        hooks = {Breakable, HoldsBack}
        with capture_logs():  # what a backend logs is no part of the report
            powers = subject.powers()
        return cls(str(subject), _names(powers - hooks), _names(powers & hooks))

    def counts(self) -> Counter[str]:
        return Counter(case.outcome for case in self.cases)

    def seconds(self) -> float:
        return sum(case.seconds for case in self.cases)

    def groups(self) -> dict[str, list[Case]]:
        found = {group: [case for case in self.cases if case.group == group] for group in GROUPS}
        return {group: cases for group, cases in found.items() if cases}

    def passed(self) -> bool:
        """At least one case passed, none failed, and the run reached its end."""
        return self.counts()[PASSED] > 0 and self.counts()[FAILED] == 0 and not self.ended


class Suite:
    """One run of it."""

    def __init__(
        self, subjects: Sequence[Subject], *, groups: Sequence[str] = (), keyword: str = "", patience_s: float
    ) -> None:
        """groups: which of GROUPS, all where empty. keyword: as pytest's -k."""
        self._subjects = subjects
        self._groups = groups
        self._keyword = keyword
        self._patience_s = patience_s

    def cases(self) -> Iterator[Case]:
        """Each as soon as it has ended, in order of write buffers and groups.

        Raises InvalidRequest where there is nothing to run, PenstockError where the suite's process ended early. When
        interrupted it lets the suite remove its buffers.
        """
        with tempfile.TemporaryFile("w+") as said:
            process = self._start(said)
            try:
                yield from self._read(process, said)
            finally:
                _stop(process)

    def _start(self, said: IO[str]) -> "subprocess.Popen[str]":
        from writebuffer.conformance.session import files_of

        command = [sys.executable, "-m", "writebuffer.conformance.session", *files_of(self._groups)]
        command += ["--patience", str(self._patience_s), *self._subjects[0].arguments()]
        for subject in self._subjects:
            command += ["--write-buffer", subject.url]
        if self._keyword:
            command += ["-k", self._keyword]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # A session of its own: Ctrl-C reaches it through us, once.
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment, start_new_session=True
        )

    def _read(self, process: "subprocess.Popen[str]", said: IO[str]) -> Iterator[Case]:
        assert process.stdout is not None
        planned: int | None = None
        finished = 0
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            if "cases" in event:
                planned = event["cases"]
            else:
                finished += 1
                yield Case(**event)
        code = process.wait()
        if code == _PYTEST_USAGE:
            raise InvalidRequest(_last(said))
        if planned == 0:
            raise InvalidRequest(f"no case matches -k {self._keyword!r}")
        if planned is None or finished < planned:
            after = "" if planned is None else f" after {finished} of {planned} cases"
            raise PenstockError(f"the suite's process ended early{after} ({_ending(code)}): {_last(said)}")


def follow(suite: Suite, found: Mapping[str, Found]) -> Iterator[Case]:
    """The suite's cases; each is also added to `found` by its URL. An error it raises is noted there first."""
    try:
        for case in suite.cases():
            found[case.url].cases.append(case)
            yield case
    except (PenstockError, KeyboardInterrupt) as error:
        begun = sum(1 for one in found.values() if one.cases)
        for one in list(found.values())[max(0, begun - 1) :]:
            one.ended = str(error) or "interrupted"
        raise


def text_of_group(group: str, cases: Sequence[Case]) -> str:
    """One line: how many passed, failed, and were not run, with the reasons."""
    counts = Counter(case.outcome for case in cases)
    parts = [f"{counts[PASSED]} passed"] if counts[PASSED] else []
    parts += [f"{counts[FAILED]} FAILED"] if counts[FAILED] else []
    why = Counter(case.reason for case in cases if case.outcome == NOT_RUN)
    parts += [f"{count} not run: {reason}" for reason, count in why.items()]
    return f"  {_spaced(group):<13} {', '.join(parts)}"


def text_of_failures(found: Found) -> str:
    """For each failure: what must be so, and what was seen instead. Empty where there are none."""
    return "\n\n".join(_text_of_failure(case) for case in found.cases if case.outcome == FAILED)


def text_of_totals(found: Found) -> str:
    counts = found.counts()
    total = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (PASSED, FAILED, NOT_RUN))
    cases = counted(len(found.cases), "case")
    return f"{cases}{' before it ended' if found.ended else ''}: {total}, in {found.seconds():.1f} s"


def text_of_powers(found: Found) -> str:
    hooks = f"; for the proof {', '.join(found.hooks)}" if found.hooks else ""
    return f"{found.url}\n  declares {', '.join(found.powers) or 'no optional powers'}{hooks}"


def to_json(found: Sequence[Found]) -> dict[str, Any]:
    """As docs/write-a-backend.md describes."""
    return {
        "version": 1,
        "holds": all(one.passed() for one in found),
        "write_buffers": [_json_of(one) for one in found],
    }


def _json_of(found: Found) -> dict[str, Any]:
    groups = [
        {"group": group, "about": cases[0].about, **_json_counts(cases), "cases": [_json_of_case(one) for one in cases]}
        for group, cases in found.groups().items()
    ]
    return {
        "url": found.url,
        "powers": found.powers,
        "hooks": found.hooks,
        "holds": found.passed(),
        "ended": found.ended,
        "cases": len(found.cases),
        **_json_counts(found.cases),
        "seconds": round(found.seconds(), 3),
        "groups": groups,
    }


def _json_counts(cases: Sequence[Case]) -> dict[str, int]:
    counts = Counter(case.outcome for case in cases)
    return {"passed": counts[PASSED], "failed": counts[FAILED], "not_run": counts[NOT_RUN]}


def _json_of_case(case: Case) -> dict[str, Any]:
    keys = ("name", "property", "outcome", "reason", "detail", "seconds")
    return {key: getattr(case, key) for key in keys}


def _text_of_failure(case: Case) -> str:
    title, _, parameters = case.name.removeprefix("test_").partition("[")
    shown = parameters.removesuffix("]").removeprefix(case.url).removeprefix("-")
    with_ = f" [{shown}]" if shown else ""
    reason = "\n            ".join(_stated(case.reason)[:_REASON_LINES])
    return f"FAILED {_spaced(case.group)}: {_spaced(title)}{with_}\n  expected  {case.property}\n  but       {reason}"


def _stated(reason: str) -> list[str]:
    """The message of a failed assertion; without one, what pytest says about its parts."""
    lines = [line for line in reason.splitlines() if line.strip()]
    stated = list(takewhile(lambda line: not line.startswith("assert "), lines)) or lines
    return [line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}…" for line in stated]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _names(powers: frozenset[type]) -> list[str]:
    return sorted(power.__name__ for power in powers)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last(said: IO[str]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it printed nothing"])[-1]


def _stop(process: "subprocess.Popen[str]") -> None:
    """Let it remove its buffers; kill it if it has not ended in _STOP_S."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.stdout is not None
    process.stdout.close()


def require_pytest() -> None:
    """Raises Misconfigured, saying what to install."""
    from importlib.util import find_spec

    missing = [name for name in ("pytest", "pytest_timeout") if find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"the suite needs {' and '.join(missing)}: pip install 'penstock[conformance]'", missing=missing
        )
