"""The suite catches what breaks the contract: each broken backend fails in the group that should catch it."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from penstock.proof import FAILED, PASSED, Case, Suite
from tests.conformance.broken import FAULTS, url_of
from tests.support.figures import record_figure
from writebuffer.conformance.subject import Subject

FACTORY = "tests.conformance.broken:from_url"
PATIENCE_S = {True: 1.2, False: 20.0}
"""By whether something hangs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("broken")
    yield folder
    assert list(folder.iterdir()) == [], "the suite left something behind"


@cache
def _outcomes(group: str, folder: Path) -> dict[str, list[Case]]:
    """By name of the fault, and "" for the twins: the cases of one run over all that `group` has to catch."""
    faults = {name: kind.base for name, kind in FAULTS.items() if kind.group == group}
    twins = {url_of("Nothing", base, folder): "" for base in set(faults.values())}
    names = {url_of(name, base, folder): name for name, base in faults.items()} | twins
    found: dict[str, list[Case]] = defaultdict(list)
    patience_s = PATIENCE_S[any(FAULTS[name].hangs for name in faults)]
    suite = Suite([Subject(url, FACTORY) for url in names], groups=[group], patience_s=patience_s)
    for case in suite.cases():
        found[names[case.url]].append(case)
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_backend_is_caught_by_the_group_that_should(name: str, folder: Path) -> None:
    """A case of its group fails, and says what must hold; the same backend without the fault passes the group."""
    found = _outcomes(FAULTS[name].group, folder)
    failed = [case for case in found[name] if case.outcome == FAILED]
    assert failed, f"{name} passed the group {FAULTS[name].group}"
    assert all(case.property and case.reason for case in failed)
    twin = found[""]
    assert [(case.name, case.reason) for case in twin if case.outcome == FAILED] == []
    assert any(case.outcome == PASSED for case in twin)


def test_every_group_of_the_contract_catches_something() -> None:
    """No group is there for show: each has a broken backend that it alone is asked to catch."""
    from writebuffer.conformance import GROUPS

    assert {kind.group for kind in FAULTS.values()} == set(GROUPS)
    record_figure(f"broken backends caught by the conformance suite: {len(FAULTS)}, in {len(GROUPS)} groups")
