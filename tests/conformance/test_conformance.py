"""penstock's own backends keep the contract: the suite passes on each, with nothing undone that it declares."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.broken import url_of
from tests.support.figures import record_figure

UNDECLARED = {
    "memory": {"Breakable", "Durable"},
    "file": set[str](),
    "redis": {"HoldsBack"},
    "kafka": {"Dense", "HoldsBack", "Measurable"},
    "sqlite": {"Breakable", "HoldsBack", "Measurable", "SeekableByTime"},
    "gapped": {"Breakable", "Dense", "HoldsBack", "Measurable", "SeekableByTime"},
}
"""What each is known not to declare. That a power got lost is seen here, and nowhere else."""


@pytest.mark.parametrize("backend", ["memory", "file", "redis", "kafka"])
def test_a_backend_of_ours_passes(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """`penstock conformance URL` exits with 0, no case failed, and what was not run is of a power not declared."""
    _prove(backend, [_url(backend, request, tmp_path)])
    assert list(tmp_path.iterdir()) == [], "the suite left files"


def test_the_example_backend_passes(tmp_path: Path) -> None:
    """The backend that docs/write-a-backend.md builds, opened by --backend without an installed entry point."""
    _prove("sqlite", [f"sqlite://{tmp_path}/buffer", "--backend", "docs.examples.sqlite_buffer:SqliteBackend"])
    assert list(tmp_path.iterdir()) == [], "the suite left files"


def test_a_backend_with_gaps_passes(tmp_path: Path) -> None:
    """No test of the suite takes offsets for dense where the backend does not declare it."""
    _prove("gapped", [f"sqlite://{tmp_path}/buffer", "--backend", "tests.support.gapped_buffer:GappedBackend"])
    assert list(tmp_path.iterdir()) == [], "the suite left files"


def test_pytest_runs_the_suite_for_every_url_given(tmp_path: Path) -> None:
    """`pytest --pyargs writebuffer.conformance` in a folder of its own needs nothing of this repository's."""
    arguments = ["--pyargs", "writebuffer.conformance", "--write-buffer", "memory:", "-k", "test_seek.py", "-ra"]
    arguments += ["--write-buffer", f"file://{tmp_path}/log", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "26 passed" in found.stdout


def test_pytest_alone_takes_no_skip_from_within_for_not_run() -> None:
    """A backend that skips a test fails it in a plain pytest run too; what is not declared stays a skip."""
    arguments = ["--pyargs", "writebuffer.conformance", "--write-buffer", url_of("SkipsWhatItCannotDo", "memory", "")]
    arguments += ["--backend", "tests.conformance.broken:from_url", "-k", "test_seek.py or test_killed.py"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-p", "no:cacheprovider"],
        env={**os.environ, "CI": ""},  # where our own tests take every skip for a failure
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stdout + found.stderr
    assert re.search(r"=+ \d+ failed, \d+ passed, 3 skipped", found.stdout), found.stdout
    assert "it was skipped from within (seek is not implemented)" in found.stdout


def _url(backend: str, request: pytest.FixtureRequest, folder: Path) -> str:
    name = f"conformance-{uuid.uuid4().hex[:8]}"
    if backend == "redis":
        return f"{request.getfixturevalue('redis_url')}?stream={name}"
    if backend == "kafka":
        return f"{request.getfixturevalue('kafka_url')}/{name}"
    return f"file://{folder}/log" if backend == "file" else "memory:"


def _prove(backend: str, arguments: list[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "penstock", "conformance", "--json", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout, found.stderr
    (report,) = json.loads(found.stdout)["write_buffers"]
    cases: list[dict[str, Any]] = [case for group in report["groups"] for case in group["cases"]]
    failed = [f"{case['name']}: {case['reason']}" for case in cases if case["outcome"] == "failed"]
    assert failed == []
    assert found.returncode == 0, found.stderr
    declared = {*report["powers"], *report["hooks"]}
    reasons = Counter(case["reason"] for case in cases if case["outcome"] == "not run")
    assert all(not declared & set(reason.replace(",", "").split()) for reason in reasons), reasons
    undeclared = {word for reason in reasons for word in reason.split() if word[0].isupper()}
    assert undeclared == UNDECLARED[backend]
    counts = f"{report['passed']} passed, {report['failed']} failed, {report['not_run']} not run"
    record_figure(f"conformance of {backend}: {report['cases']} cases, {counts}, {report['seconds']:.0f} s")
