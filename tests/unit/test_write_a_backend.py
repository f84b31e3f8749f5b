"""docs/write-a-backend.md says what is true of the example it walks through."""

import ast
import re
import tomllib
from pathlib import Path

from writebuffer.conformance.subject import Subject
from writebuffer.connect import ENTRY_POINT_GROUP

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "write-a-backend.md").read_text()
EXAMPLE = (DOCS / "examples" / "sqlite_buffer.py").read_text()
LINES_MAX = 200


def _snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_every_quoted_piece_stands_in_the_example() -> None:
    """Python snippets are letter by letter what the example does."""
    snippets = _snippets("python")
    assert len(snippets) >= 5
    assert [piece for piece in snippets if piece not in EXAMPLE] == []


def test_the_entry_point_is_of_the_group_that_is_looked_up() -> None:
    """The TOML is valid and names the group that `connect` reads."""
    (snippet,) = _snippets("toml")
    assert list(tomllib.loads(snippet)["project"]["entry-points"]) == [ENTRY_POINT_GROUP]


def test_what_it_says_to_implement_is_what_the_example_has() -> None:
    """Each call of the table is a method or attribute of the example's class for it."""
    classes = {node.name: node for node in ast.parse(EXAMPLE).body if isinstance(node, ast.ClassDef)}
    rows = re.findall(r"^\| (backend|writer|reader|cursor) \| (.*) \|$", GUIDE, re.MULTILINE)
    assert len(rows) == 4
    for who, calls in rows:
        names = _names(classes, "SqliteBackend" if who == "backend" else who.capitalize())
        assert set(re.findall(r"`(\w+)`", calls)) <= names, who


def test_the_commands_name_the_example() -> None:
    """What --backend is given in the guide loads and can be proven."""
    factories = set(re.findall(r"^\w.* --backend ([\w.]+:\w+)", GUIDE, re.MULTILINE))
    assert len(factories) == 1
    Subject("sqlite:///nowhere", factories.pop()).provable()


def test_the_example_is_small() -> None:
    """A backend fits on a few pages: blank lines left out, no more than this."""
    lines = [line for line in EXAMPLE.splitlines() if line.strip()]
    assert len(lines) <= LINES_MAX


def _names(classes: dict[str, ast.ClassDef], name: str) -> set[str]:
    node = classes[name]
    found = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    found |= {target.id for item in node.body if isinstance(item, ast.Assign) for target in item.targets}  # type: ignore[attr-defined]
    found |= {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)}
    for base in node.bases:
        assert isinstance(base, ast.Name)
        found |= _names(classes, base.id)
    return found
