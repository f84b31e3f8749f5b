"""Imports point one way: the contracts in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT = "from importlinter.cli import lint_imports_command as command; command()"


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", LINT, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_imports_point_one_way() -> None:
    """common <- writebuffer <- router, ingester <- penstock, and only connect.py chooses a backend."""
    ran = lint(ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 broken" in ran.stdout


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("common/a.py", "writebuffer.a"),
        ("router/a.py", "ingester.a"),
        ("ingester/a.py", "writebuffer.memory"),
        ("router/a.py", "redis"),
    ],
)
def test_an_import_that_points_back_is_found(tmp_path: Path, importer: str, imported: str) -> None:
    """The check itself can fail: a tree with one wrong import is refused."""
    for module in (
        "common/a",
        "writebuffer/a",
        "writebuffer/memory",
        "writebuffer/file",
        "writebuffer/redis",
        "writebuffer/kafka",
        "writebuffer/conformance",
        "router/a",
        "ingester/a",
        "penstock/a",
    ):
        path = tmp_path / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.touch()
    (tmp_path / importer).write_text(f"import {imported}\n")
    ran = lint(tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "BROKEN" in ran.stdout
