"""`penstock conformance`: what it prints, and what its exit code says."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock.cli import cli
from writebuffer.memory import MemoryBackend, MemoryWriter

BROKEN = ["--backend", "tests.conformance.broken:from_url", "--patience", "1"]


class EndsItsProcess(MemoryBackend):
    """At the second writer that is opened in one process."""

    opened = 0

    def beside(self, name: str) -> "EndsItsProcess":
        return EndsItsProcess(f"{self.url}{name}")

    def open_writer(self) -> MemoryWriter:
        EndsItsProcess.opened += 1
        if EndsItsProcess.opened == 2:
            os._exit(7)
        return super().open_writer()


class Unproven:
    """A backend that was not made for proofs."""

    powers = frozenset[type]()

    def __init__(self, url: str) -> None:
        self.url = url

    def create(self, sequencers: int) -> None: ...

    def open_writer(self) -> None: ...

    def open_reader(self) -> None: ...


def conformance(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["conformance", *arguments])


def test_a_group_that_passes_is_one_line() -> None:
    """The powers, a line for each group, the totals with the number of cases; exit code 0."""
    found = conformance("memory:", "--group", "lag")
    assert found.exit_code == 0, found.output
    assert "declares Dense, Measurable, SeekableByTime, Trimmable; for the proof HoldsBack" in found.output
    assert "  lag           2 passed\n" in found.output
    assert "2 cases: 2 passed, 0 failed, 0 not run" in found.output


def test_a_failure_says_what_must_hold_and_what_was_seen() -> None:
    """With the exit code 1."""
    found = conformance("broken:TrimsMoreThanAsked:memory:/x", "--group", "trim", *BROKEN)
    assert found.exit_code == 1
    assert "FAILED trim: trimming removes at most what was asked" in found.output
    assert "expected  Every record at or above `before` is still read" in found.output
    assert "but       trim(before=1) left 2 as the first offset" in found.output


def test_what_was_not_run_is_not_passed() -> None:
    """The reason is listed, and a run that showed nothing at all has the exit code 1."""
    found = conformance("memory:", "--group", "killed")
    assert found.exit_code == 1
    assert "killed        3 not run: Durable is not declared" in found.output


def test_json_holds_the_same(tmp_path: Path) -> None:
    """One object, with every case of every URL."""
    found = conformance("memory:", f"file://{tmp_path}/log", "--group", "lag", "--json")
    report = json.loads(found.stdout)
    assert (report["version"], report["holds"]) == (1, True)
    assert [one["passed"] for one in report["write_buffers"]] == [2, 2]
    case = report["write_buffers"][1]["groups"][0]["cases"][0]
    assert case["outcome"] == "passed"
    assert case["property"].endswith(".")


def test_json_is_printed_when_the_run_ends_half_way() -> None:
    """What was shown until then, that it is not the whole, and why; nothing of it holds. The exit code is 1."""
    found = conformance("ends:", "again:", "--group", "lag", "--json", "--backend", f"{__name__}:EndsItsProcess")
    assert found.exit_code == 1
    report = json.loads(found.stdout)
    assert [one["holds"] for one in report["write_buffers"]] == [False, False]
    assert report["holds"] is False
    assert [one["passed"] for one in report["write_buffers"]] == [1, 0]
    assert all("ended early after 1 of 4 cases (exit code 7)" in one["ended"] for one in report["write_buffers"])
    assert "ended early" in found.stderr


def test_what_was_found_is_printed_when_the_run_ends_half_way() -> None:
    """The group that it ended in and the totals until then, which say so; then the error."""
    found = conformance("ends:", "--group", "lag", "--backend", f"{__name__}:EndsItsProcess")
    assert found.exit_code == 1
    assert "  lag           1 passed\n" in found.output
    assert "1 case before it ended: 1 passed" in found.output
    assert "ended early" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 2, "has no scheme"),
        (["file:///dev/null/log"], 2, "/dev/null"),
        (["memory:", "--group", "nix"], 2, "'nix' is none of: one_stream"),
        (["memory:", "-k", "nix"], 2, "no case matches -k 'nix'"),
        (["memory:", "-k", "a and ("], 2, "-k"),
        (["x:", "--backend", "nix"], 2, "module:callable"),
        (["x:", "--backend", "common.values.clock:nix"], 2, "has no attribute 'nix'"),
        (["x:", "--backend", "builtins:str"], 2, "`beside`, `delete`; writebuffer/proving.py"),
        (["x:", "--backend", f"{__name__}:Unproven"], 2, "Unproven cannot be proven, it lacks `beside`, `delete`"),
        (["x:", "--backend", "builtins:int"], 2, "cannot be made: ValueError"),
        (["x:", "--backend", "os:path"], 2, "it is a module, which cannot be called; give module:callable"),
        (["x:", "--backend", "sys:maxsize"], 2, "it is of type int, which cannot be called"),
        (["x:", "--backend", "uuid:uuid4"], 2, "cannot be called with the URL alone (too many positional arguments)"),
        (["x:", "--backend", "shutil:copy"], 2, "cannot be called with the URL alone (missing a required argument"),
        (["x:", "--backend", "builtins:repr"], 2, "builtins.str is no backend, it lacks `url`"),
    ],
)
def test_what_cannot_be_proven_says_why(arguments: list[str], code: int, said: str) -> None:
    """One line, and the exit code that says who has to act."""
    found = conformance(*arguments)
    assert found.exit_code == code, found.output
    assert said in found.output
    assert "Traceback" not in found.output


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own needs are an extra."""
    monkeypatch.setitem(sys.modules, "pytest_timeout", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = conformance("memory:")
    assert found.exit_code == 2
    assert "pip install 'penstock[conformance]'" in found.output
