"""The suite catches what breaks the contract: each broken backend fails where it should, for the reason it should."""

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from penstock.buffers.conformance import FAILED, NOT_RUN, PASSED, Case, Suite
from tests.conformance.broken import FAULTS, url_of
from tests.support.figures import record_figure
from writebuffer.conformance.subject import Subject

FACTORY = "tests.conformance.broken:from_url"
PATIENCE_S = 20.0
PATIENCE_IN_VAIN_S = 1.0
"""Where something hangs, and only there: a backend that is right may take longer on a busy machine."""
ACCIDENT = re.compile(r"\b(TypeError|AttributeError|NameError|UnboundLocalError)\b|ended by itself")
"""What a fault that is itself written wrong fails by."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("broken")
    yield folder
    assert list(folder.iterdir()) == [], "the suite left files"


@cache
def _outcomes(group: str, hangs: bool, folder: Path) -> dict[str, list[Case]]:
    """By name of the fault: the cases of one run over all of them that `group` has to catch."""
    faults = {name: kind for name, kind in FAULTS.items() if (kind.group, kind.hangs) == (group, hangs)}
    names = {url_of(name, kind.base, folder): name for name, kind in faults.items()}
    return _run(names, group, PATIENCE_IN_VAIN_S if hangs else PATIENCE_S)


@cache
def _outcomes_of_twin(group: str, base: str, folder: Path) -> list[Case]:
    url = url_of("Nothing", base, folder)
    return _run({url: "Nothing"}, group, PATIENCE_S)["Nothing"]


def _run(names: dict[str, str], group: str, patience_s: float) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = defaultdict(list)
    for case in Suite([Subject(url, FACTORY) for url in names], groups=[group], patience_s=patience_s).cases():
        found[names[case.url]].append(case)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_backend_is_caught_where_and_for_what_it_should(name: str, folder: Path) -> None:
    """The tests it names fail for the reasons it names, and none for a mistake in the fault; its twin passes them."""
    kind = FAULTS[name]
    cases = _outcomes(kind.group, kind.hangs, folder)[name]
    failed = [case for case in cases if case.outcome == FAILED]
    assert failed, f"{name} passed the group {kind.group}"
    assert [case.reason for case in failed if ACCIDENT.search(case.reason)] == []
    for test, reason in kind.caught_by.items():
        found = [case.reason for case in failed if _test_of(case) == test]
        assert any(reason in one for one in found), f"{test} should fail with {reason!r}; its failures: {found}"
    assert all(case.property for case in failed)
    twin = _outcomes_of_twin(kind.group, kind.base, folder)
    assert [(case.name, case.reason) for case in twin if case.outcome == FAILED] == []
    assert {_test_of(case) for case in twin if case.outcome == PASSED} >= set(kind.caught_by)


def test_every_group_of_the_contract_catches_something() -> None:
    """No group is there for show: each has a broken backend that it alone is asked to catch, and each fault a test."""
    from writebuffer.conformance import GROUPS

    assert {kind.group for kind in FAULTS.values()} == set(GROUPS)
    assert [name for name, kind in FAULTS.items() if not kind.caught_by] == []
    record_figure(f"broken backends caught by the conformance suite: {len(FAULTS)}, in {len(GROUPS)} groups")


def test_what_is_skipped_from_within_is_failed_and_not_left_undone(folder: Path) -> None:
    """Only a power that is not declared makes a case "not run": a backend that skips has not shown what it is about."""
    cases = _outcomes("seek", False, folder)["SkipsWhatItCannotDo"]
    assert [case.name for case in cases if case.outcome == NOT_RUN] == []


def _test_of(case: Case) -> str:
    return case.name.partition("[")[0]
