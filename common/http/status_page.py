"""The page that router and ingester show to people at `/`: a name and its figures, without scripts."""

from collections.abc import Mapping
from html import escape

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:42rem;padding:0 1rem;color:#1c2530}
h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}td{padding:.3rem .6rem;border-bottom:1px solid #dde3ea}
td+td{text-align:right;font-variant-numeric:tabular-nums;word-break:break-all}"""
_LINKS = ("status", "metrics", "health", "ready")


def status_page(title: str, values: Mapping[str, object]) -> str:
    """The HTML. values: as `/status` answers them as JSON; a nested mapping becomes a row for each of its items."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in _flat(values))
    links = " · ".join(f'<a href="/{link}">{link}</a>' for link in _LINKS)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><table>{rows}</table><p>{links}</p></html>\n"
    )


def _flat(values: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        label = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{label} ")
        else:
            rows.append((label, _shown(name, value)))
    return rows


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and name != "pid":
        return f"{value:,}"
    return "–" if value in (None, "") else str(value)
