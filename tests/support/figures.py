"""What a run counted, shown at its end: `record_figure("crash points of the log: 412")` in a test, one line each.

A pytest plugin, loaded by tests/conftest.py. A proof by enumeration says how much it enumerated, in the output of
every run. A figure belongs to the test that records it: it is printed under the test's name.
"""

import os

import pytest

_figures: list[tuple[str, str]] = []


def record_figure(text: str) -> None:
    """Show `text` at the end of the run, in the order of recording. Call it from a test, after what it counts held."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    _figures.append((test, text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _figures:
        return
    terminalreporter.section("FIGURES")
    for test, text in _figures:
        terminalreporter.line(f"{text}  [{test.rpartition('/')[2]}]")
