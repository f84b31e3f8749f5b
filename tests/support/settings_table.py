"""The settings as docs/operations.md shows them; `python -m tests.support.settings_table` renews the page."""

import dataclasses
from pathlib import Path
from typing import Any

from common.values import config

PAGE = Path(__file__).parent.parent.parent / "docs" / "operations.md"
BEGIN = "<!-- settings: made from common/values/config.py by python -m tests.support.settings_table -->\n"
END = "<!-- end of settings -->\n"

TITLES = {
    config.ClusterConfig: "Every process",
    config.RouterConfig: "Router",
    config.IngesterConfig: "Ingester",
    config.RetentionConfig: "Router and ingester: what stays in the write buffer",
}


def tables() -> str:
    """One table for each component, in the order of its fields."""
    return "".join(_table(kind, title) for kind, title in TITLES.items())


def page_with(text: str, table: str) -> str:
    """The page with `table` between the marks. Raises ValueError where a mark is missing."""
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    return f"{text[:start]}{table}\n{text[end:]}"


def _table(kind: type[Any], title: str) -> str:
    head = f"\n### {title}\n\n| setting | variable | default | |\n|---|---|---|---|\n"
    return head + "".join(_row(spec) for spec in dataclasses.fields(kind))


def _row(spec: "dataclasses.Field[Any]") -> str:
    choices = f" ({', '.join(spec.metadata['choices'])})" if spec.metadata["choices"] else ""
    name, default = spec.name, _default(spec)
    return f"| `{name}` | `{config.variable(name)}` | {default} | {spec.metadata['help']}{choices} |\n"


def _default(spec: "dataclasses.Field[Any]") -> str:
    value = spec.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if "bytes" in spec.name and value and value % config.MIB == 0:
        return f"{value // config.MIB} MiB"
    if isinstance(value, float):
        return f"{value:g}"
    return f"`{value}`" if isinstance(value, str) and value else str(value)


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text(), tables()))
