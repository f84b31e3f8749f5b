"""Imports point one way: the contracts in pyproject.toml hold."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINT = "from importlinter.cli import lint_imports_command as command; command()"


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", LINT, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_imports_point_one_way() -> None:
    """common <- writebuffer <- router, ingester <- penstock; values <- store <- catalog; one file chooses a backend."""
    ran = lint(ROOT)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 broken" in ran.stdout


def layers_of(container: str) -> list[str]:
    """Every layer that pyproject.toml names inside `container`: the check refuses a tree that lacks one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one.get("containers") == [container]]
    return [name for layer in layers for name in layer.split(" | ")]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("common/entry/a.py", "writebuffer.a"),
        ("common/store/a.py", "common.catalog.a"),
        ("common/values/a.py", "common.store.a"),
        ("common/http/a.py", "common.store.a"),
        ("common/reading.py", "common.catalog.a"),
        ("common/ipc/a.py", "common.entry.a"),
        ("router/a.py", "ingester.a"),
        ("router/parsing.py", "router.core"),
        ("ingester/a.py", "writebuffer.memory"),
        ("router/a.py", "redis"),
    ],
)
def test_an_import_that_points_back_is_found(tmp_path: Path, importer: str, imported: str) -> None:
    """The check itself can fail: a tree with one wrong import is refused."""
    for module in (
        "common/startup",
        "common/catalog/a",
        "common/store/a",
        "common/http/a",
        "common/entry/a",
        "common/reading",
        "common/ipc/a",
        "common/logs",
        "common/values/a",
        "writebuffer/a",
        "writebuffer/memory",
        "writebuffer/file",
        "writebuffer/redis",
        "writebuffer/kafka",
        "writebuffer/conformance",
        *(f"router/{layer}" for layer in layers_of("router")),
        "router/a",
        "ingester/a",
        "penstock/a",
    ):
        path = tmp_path / f"{module}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        for folder in [folder for folder in path.parents if folder.is_relative_to(tmp_path) and folder != tmp_path]:
            (folder / "__init__.py").touch()
        path.touch()
    (tmp_path / importer).write_text(f"import {imported}\n")
    ran = lint(tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "BROKEN" in ran.stdout
