"""docs/write-a-backend.md says what is true of the example it walks through."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from docs.examples.sqlite_buffer import SqliteBackend, SqliteStream, SqliteWriter
from writebuffer import grouping, reading
from writebuffer.conformance.subject import Subject
from writebuffer.connect import ENTRY_POINT_GROUP
from writebuffer.reading import PolledCursor, PolledReader, StoredStream

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "write-a-backend.md").read_text()
EXAMPLE = (DOCS / "examples" / "sqlite_buffer.py").read_text()
LINES = 150
OBJECTS = {
    "backend": SqliteBackend("sqlite:///nowhere"),
    "writer": SqliteWriter,
    "reader": PolledReader,
    "cursor": PolledCursor,
}


def _snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_quoted_piece_is_in_the_example() -> None:
    """Python snippets are letter by letter what the example does."""
    snippets = _snippets("python")
    assert len(snippets) >= 5
    assert [piece for piece in snippets if piece not in EXAMPLE] == []


def test_the_entry_point_is_of_the_group_that_is_looked_up() -> None:
    """The TOML is valid and names the group that `connect` reads."""
    (snippet,) = _snippets("toml")
    assert list(tomllib.loads(snippet)["project"]["entry-points"]) == [ENTRY_POINT_GROUP]


def test_what_it_says_to_implement_is_what_the_example_has() -> None:
    """Each call of the table is one of the example's objects, made here or by the package."""
    rows = re.findall(r"^\| (backend|writer|reader|cursor) \| (.*) \| .* \|$", GUIDE, re.MULTILINE)
    assert [who for who, _ in rows] == list(OBJECTS)
    for who, calls in rows:
        missing = [name for name in re.findall(r"`(\w+)`", calls) if not hasattr(OBJECTS[who], name)]
        assert missing == [], who


def test_the_functions_it_says_to_give_are_those_the_example_gives() -> None:
    """With the arguments that the table names, which are those that the package calls them with."""
    rows = re.findall(r"^\| `(\w+)\((.*?)\)` \| .* \| \[(.*?)\]", GUIDE, re.MULTILINE)
    assert [name for name, _, _ in rows] == ["commit", "look", "read"]
    for name, arguments, _ in rows:
        assert arguments == ", ".join(_parameters(getattr(SqliteStream, name)))
    for name in ("look", "read"):
        assert _parameters(getattr(StoredStream, name)) == _parameters(getattr(SqliteStream, name))
    assert {place for _, _, place in rows} == {_place(grouping), _place(reading)}


def test_the_commands_name_the_example() -> None:
    """What --backend is given in the guide loads and can be proven."""
    factories = set(re.findall(r"^\w.* --backend ([\w.]+:\w+)", GUIDE, re.MULTILINE))
    assert len(factories) == 1
    Subject("sqlite:///nowhere", factories.pop()).provable()


def test_shipped_as_it_says_the_url_alone_is_enough(tmp_path: Path) -> None:
    """A package with the guide's entry point and the example's module is found by its scheme, in every process."""
    (snippet,) = _snippets("toml")
    ((scheme, target),) = tomllib.loads(snippet)["project"]["entry-points"][ENTRY_POINT_GROUP].items()
    package, module = target.partition(":")[0].split(".")
    installed, data = tmp_path / "installed", tmp_path / "data"
    known = installed / f"{package}-1.dist-info"
    for folder in (installed / package, known, data):
        folder.mkdir(parents=True)
    (installed / package / f"{module}.py").write_text(EXAMPLE)
    (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (known / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{scheme} = {target}\n")
    command = [sys.executable, "-m", "penstock", "conformance", f"{scheme}://{data}/buffer", "--group", "identity"]
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=100
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"\b(\d+) cases: \1 passed", found.stdout), found.stdout
    assert list(data.iterdir()) == []


def test_the_example_is_small() -> None:
    """A whole backend takes fewer lines than this in all, blank ones and imports included."""
    assert len(EXAMPLE.splitlines()) < LINES


def _parameters(method: Callable[..., object]) -> list[str]:
    return list(inspect.signature(method).parameters)[1:]


def _place(module: ModuleType) -> str:
    return module.__name__.replace(".", "/") + ".py"
