"""The suite run for a report: `python -m writebuffer.conformance.session ARGUMENT...` (those of pytest).

Prints one JSON object a line on its standard output: `{"cases": N}` once they are known, then for each case its url,
group, about, property, name, outcome (passed, failed, not run), reason, detail and seconds. What pytest and the backend
print goes to standard error. Neither a configuration nor plugins of the folder it is called in take part.
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest

from writebuffer.conformance import GROUPS, NOT_RUN
from writebuffer.conformance.skips import reason_of

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class _Outcome:
    outcome: str
    reason: str = ""
    detail: str = ""


class Reporter:
    """A pytest plugin that prints each case once, after it was cleaned up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._reports: list[pytest.TestReport] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._print({"cases": len(session.items)})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        reports, self._reports = self._reports, []
        found = outcome_of(reports)
        self._print(
            dict(reports[0].user_properties)
            | {
                "name": nodeid.partition("::")[2],
                "outcome": found.outcome,
                "reason": found.reason,
                "detail": found.detail,
                "seconds": round(sum(report.duration for report in reports), 3),
            }
        )

    def _print(self, event: dict[str, Any]) -> None:
        print(json.dumps(event), file=self._stream, flush=True)


def outcome_of(reports: Sequence[pytest.TestReport]) -> _Outcome:
    """Of the steps of one case: setup, the test itself, cleaning up."""
    for report in reports:
        if report.failed:
            where = {"setup": "while making the buffer: ", "teardown": "while removing the buffer: "}
            return _Outcome("failed", where.get(report.when, "") + _message(report), report.longreprtext)
        if report.skipped:
            return _Outcome("not run", reason_of(report).removeprefix(NOT_RUN))
    return _Outcome("passed")


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = str(crash.message if crash else report.longreprtext).strip()
    for prefix in ("AssertionError: ", "Failed: "):
        message = message.removeprefix(prefix)
    return message


def files_of(groups: Sequence[str]) -> list[str]:
    return [str(_HERE / f"test_{group}.py") for group in groups or GROUPS]


def run(arguments: Sequence[str], stream: TextIO) -> int:
    """pytest's exit code."""
    own = ["-c", os.devnull, "--rootdir", str(_HERE), "--confcutdir", str(_HERE), "-p", "no:cacheprovider"]
    plugins = ["-p", "pytest_timeout", "-p", "writebuffer.conformance.plugin"]
    return int(pytest.main([*own, *plugins, "-q", *arguments], plugins=[Reporter(stream)]))


def _main() -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    code = run(sys.argv[1:], events)
    for stream in (events, sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # a thread that a broken backend left hanging must not keep the report waiting


if __name__ == "__main__":
    _main()
