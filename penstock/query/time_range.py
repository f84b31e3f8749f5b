"""Which stretch of time a statement can need of each table, from its WHERE clauses.

Only what is certain counts: of a SELECT whose FROM has the table plainly or joined by ordinary joins, the conditions
that are joined by AND at the top of its WHERE, compare `time` with something constant, and say whose `time` it is. A
table that is named without such a condition anywhere is needed whole.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from common.values.schema import TIME, TIME_NS_MAX, TIME_NS_MIN
from penstock.query.names import fold

Node = dict[str, Any]
Evaluate = Callable[[Sequence[Node]], list[int | None]]
"""Constant expressions as ns since 1970; None for one that is no time."""

MARGIN_NS = 1_000_000
"""DuckDB may compare in microseconds, rounded; what is a little wider only opens a file too many."""

_STEADY = (
    *("now", "get_current_timestamp", "today", "+", "-", "*", "trunc", "date_trunc"),
    *("make_date", "make_timestamp", "make_timestamp_ns", "to_timestamp", "epoch_ms", "to_years", "to_months"),
    *("to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds", "to_milliseconds", "to_microseconds"),
)
"""Functions that give the same at each call of one query (sql.py fixes now and today)."""

_PLAIN_JOINS = ("REGULAR", "CROSS")
"""A positional or ASOF join depends on rows that its WHERE leaves out; a natural one hides whose `time` is meant."""

_FLIPPED = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}
_LOWER = ("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL")
_UPPER = ("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL")


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Nanoseconds since 1970, both ends included; empty where the first is above the last."""

    first_ns: int
    last_ns: int

    def meets(self, first_ns: int, last_ns: int) -> bool:
        return self.first_ns <= self.last_ns and first_ns <= self.last_ns and last_ns >= self.first_ns

    def and_(self, other: "TimeRange") -> "TimeRange":
        return TimeRange(max(self.first_ns, other.first_ns), min(self.last_ns, other.last_ns))

    def hull(self, other: "TimeRange") -> "TimeRange":
        """The least range that holds both."""
        if self.first_ns > self.last_ns:
            return other
        if other.first_ns > other.last_ns:
            return self
        return TimeRange(min(self.first_ns, other.first_ns), max(self.last_ns, other.last_ns))


ALWAYS = TimeRange(TIME_NS_MIN, TIME_NS_MAX)
NEVER = TimeRange(TIME_NS_MAX, TIME_NS_MIN)


def needed(nodes: Iterable[Node], evaluate: Evaluate) -> dict[str, TimeRange]:
    """By table name as written. nodes: every node of the statement's tree (statement.py)."""
    ranges: dict[str, TimeRange] = {}
    restricted: set[int] = set()
    found = list(nodes)
    for select in found:
        if select.get("type") == "SELECT_NODE":
            for base, within in _of_select(select, evaluate):
                restricted.add(id(base))
                ranges[base["table_name"]] = ranges.get(base["table_name"], NEVER).hull(within)
    for base in found:
        if base.get("type") == "BASE_TABLE" and id(base) not in restricted:
            ranges[base["table_name"]] = ALWAYS
    return ranges


def _of_select(select: Node, evaluate: Evaluate) -> Iterator[tuple[Node, TimeRange]]:
    """The tables of its FROM that its WHERE restricts, each with the range."""
    bases = _base_tables(select.get("from_table") or {})
    if not bases or select.get("sample"):
        return
    conditions = list(_conjuncts(select.get("where_clause")))
    for base in bases:
        bounds = [bound for condition in conditions for bound in _bounds(condition, base, alone=len(bases) == 1)]
        within = ALWAYS
        for (kind, _), time_ns in zip(bounds, evaluate([expression for _, expression in bounds]), strict=True):
            within = within.and_(_range_of(kind, time_ns))
        if within != ALWAYS:
            yield base, within


def _base_tables(source: Node) -> list[Node]:
    """The tables of a FROM clause; none at all where some part of it could depend on rows that WHERE leaves out."""
    if source.get("type") == "BASE_TABLE" and not source.get("sample"):
        renamed = source.get("column_name_alias")
        return [] if renamed else [source]
    if source.get("type") == "JOIN" and source.get("ref_type") in _PLAIN_JOINS:
        left, right = _base_tables(source["left"]), _base_tables(source["right"])
        return left + right if left and right else []
    return []


def _conjuncts(condition: Node | None) -> Iterator[Node]:
    if condition is None:
        return
    if condition.get("type") == "CONJUNCTION_AND":
        for child in condition["children"]:
            yield from _conjuncts(child)
    else:
        yield condition


def _bounds(condition: Node, base: Node, alone: bool) -> Iterator[tuple[str, Node]]:
    """Comparisons of this table's `time` with a constant expression. alone: it is the only table of its FROM."""
    kind = condition.get("type", "")
    if kind == "COMPARE_BETWEEN" and _is_time(condition["input"], base, alone):
        sides = [
            ("COMPARE_GREATERTHANOREQUALTO", condition["lower"]),
            ("COMPARE_LESSTHANOREQUALTO", condition["upper"]),
        ]
    elif kind in _FLIPPED and _is_time(condition["left"], base, alone):
        sides = [(kind, condition["right"])]
    elif kind in _FLIPPED and _is_time(condition["right"], base, alone):
        sides = [(_FLIPPED[kind], condition["left"])]
    else:
        return
    yield from ((kind, side) for kind, side in sides if _is_constant(side))


def _is_time(expression: Node, base: Node, alone: bool) -> bool:
    if expression.get("type") != "COLUMN_REF":
        return False
    names = [fold(name) for name in expression["column_names"]]
    if len(names) == 1:
        return alone and names == [TIME]
    return names == [fold(base.get("alias") or base["table_name"]), TIME]


def _is_constant(expression: Node) -> bool:
    match expression.get("class"):
        case "CONSTANT":
            return True
        case "CAST":
            return _is_constant(expression["child"])
        case "FUNCTION":
            arguments = [argument["expression"] for argument in expression["arguments"]]
            return expression["function_name"] in _STEADY and all(map(_is_constant, arguments))
    return False


def _range_of(kind: str, time_ns: int | None) -> TimeRange:
    if time_ns is None:
        return ALWAYS
    return TimeRange(
        time_ns - MARGIN_NS if kind in _LOWER else TIME_NS_MIN, time_ns + MARGIN_NS if kind in _UPPER else TIME_NS_MAX
    )
