"""docs/api.md, read by the tests that hold the code to it."""

from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"


def table(title: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    lines = section[section.index("\n|") :].lstrip().split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
