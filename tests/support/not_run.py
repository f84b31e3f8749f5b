"""A skip is never silent: it is listed loudly at the end, and in CI (CI=true) it is a failure.

A pytest plugin, loaded by tests/conftest.py. A test that needs a server this machine lacks skips with the reason; on a
developer's machine the run may still pass, but says what was not shown. In CI everything a change needs is installed,
so that a skip there means that a proof has gone missing.
"""

import os
from collections.abc import Generator

import pytest

Reported = Generator[None, pytest.TestReport, pytest.TestReport]
Collected = Generator[None, pytest.CollectReport, pytest.CollectReport]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Reported:
    report = yield
    _fail_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Collected:
    report = yield
    _fail_in_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"NOT RUN: {len(skipped)}", sep="!", red=True, bold=True)
    for report in skipped:
        terminalreporter.line(f"NOT RUN: {report.nodeid}: {_reason(report)}", red=True)


def _fail_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.longrepr = f"NOT RUN, which in CI is a failure: {_reason(report)}"
        report.outcome = "failed"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)
