"""What is printed to try can be typed as it is."""

import os
import sys
from pathlib import Path

import pytest

from penstock.cluster.welcome import typed_command


def script(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder, with nothing of penstock on PATH."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def test_the_script_on_path_is_typed_by_its_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when PATH finds it through a link."""
    real = script(here / ".venv" / "bin" / "penstock")
    (here.parent / "bin").mkdir()
    (here.parent / "bin" / "penstock").symlink_to(real)
    monkeypatch.setattr(sys, "argv", [str(real)])
    assert typed_command() == "penstock"


@pytest.mark.parametrize("on_path", [False, True])
def test_another_script_is_typed_by_its_way_from_here(
    here: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool
) -> None:
    """Nothing of the name on PATH, or another installation."""
    if on_path:
        script(here.parent / "bin" / "penstock")
    script(here / ".venv" / "bin" / "penstock")
    monkeypatch.setattr(sys, "argv", [".venv/bin/penstock"])
    assert typed_command() == os.path.join(".venv", "bin", "penstock")  # noqa: PTH118  as it is typed
    script(here / "penstock")
    monkeypatch.setattr(sys, "argv", [str(here / "penstock")])
    assert typed_command() == "./penstock"


def test_a_script_elsewhere_is_typed_in_full(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quoted for a shell where it has to be."""
    elsewhere = script(here.parent / "other one" / "penstock")
    monkeypatch.setattr(sys, "argv", [str(elsewhere)])
    assert typed_command() == f"'{elsewhere}'"


def test_a_module_is_typed_as_a_module(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m penstock` is typed with the interpreter that runs."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/penstock/__main__.py"])
    monkeypatch.setattr(sys, "executable", str(here / ".venv" / "bin" / "python"))
    assert typed_command() == ".venv/bin/python -m penstock"
