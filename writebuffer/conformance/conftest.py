"""Runs every test of the suite for each --write-buffer, on buffers of its own, where the powers it needs are declared.

A test names the powers it needs by `@needs(Trimmable)`. Where one is not declared it is skipped as "not run", with the
reason. A test that is skipped by anything else, such as its backend, has shown nothing and fails. So does one that
lasts three times the patience.
"""

import functools
from collections.abc import Generator, Iterator
from typing import cast

import pytest

from common.values.errors import PenstockError
from writebuffer.conformance import GROUPS, NOT_RUN
from writebuffer.conformance.buffer import Buffer
from writebuffer.conformance.skips import reason_of
from writebuffer.conformance.subject import Subject

_TIMEOUTS = 3


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*powers): the powers without which the property does not apply")
    config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    subjects = _subjects(metafunc.config)
    metafunc.parametrize("subject", subjects, ids=[str(one) for one in subjects], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorted by URL and group. Says what is wrong with a URL before anything runs."""
    mine = [item for item in items if _group(item)]
    if not mine:
        return
    subjects = _subjects(config)
    if not subjects:
        raise pytest.UsageError("which write buffer? Name it with --write-buffer URL")
    for subject in subjects:
        try:
            _powers(subject)
        except PenstockError as error:
            raise pytest.UsageError(str(error)) from error
    for item in mine:
        item.add_marker(pytest.mark.timeout(_TIMEOUTS * config.getoption("--patience")))
        item.user_properties += _properties(item)
    mine.sort(key=lambda item: (subjects.index(_subject(item)), GROUPS.index(_group(item))))
    items[:] = [item for item in items if not _group(item)] + mine


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not _group(item):
        return
    declared = _powers(_subject(item))
    missing = [power.__name__ for mark in item.iter_markers("needs") for power in mark.args if power not in declared]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        pytest.skip(f"{NOT_RUN}{' and '.join(missing)} {are} not declared")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _group(item) and report.skipped and not (reason := reason_of(report)).startswith(NOT_RUN):
        report.outcome = "failed"
        report.longrepr = (
            f"Failed: it was skipped from within ({reason}), so it has shown nothing; only the suite may skip its tests"
        )
        report.__dict__.pop("wasxfail", None)  # which would make a success of it
    return report


@pytest.fixture
def absent(subject: Subject, request: pytest.FixtureRequest) -> Iterator[Buffer]:
    """A buffer that was not created yet. After the test it is always deleted."""
    buffer = Buffer(subject, request.config.getoption("--patience"))
    yield buffer
    buffer.remove()


@pytest.fixture
def buffer(absent: Buffer) -> Buffer:
    """One sequencer, empty."""
    return absent.create()


def _subjects(config: pytest.Config) -> list[Subject]:
    return [Subject(url, config.getoption("--backend")) for url in config.getoption("--write-buffer")]


@functools.cache
def _powers(subject: Subject) -> frozenset[type]:
    return subject.powers()


def _group(item: pytest.Item) -> str:
    module = getattr(item, "module", None)
    package, _, name = getattr(module, "__name__", "").rpartition(".test_")
    return name if package == __package__ else ""


def _subject(item: pytest.Item) -> Subject:
    assert isinstance(item, pytest.Function)
    return cast(Subject, item.callspec.params["subject"])


def _properties(item: pytest.Item) -> list[tuple[str, object]]:
    """What a report says about the test beside its outcome."""
    assert isinstance(item, pytest.Function)
    about = (item.module.__doc__ or "").partition("\n")[0]
    stated = " ".join((item.function.__doc__ or "").split())
    return [("url", str(_subject(item))), ("group", _group(item)), ("about", about), ("property", stated)]
