"""What a step can expect of an ingester: each fact by its name, and how it is compared."""

from collections.abc import Callable
from typing import Any

from common.catalog.partition_key import PartitionKey
from common.values.schema import DAY_NS, TableId
from ingester.core.events import Answer
from tests.scenarios.language import WrongStep, tables_of, time_ns
from tests.support.ingester_rig import IngesterRig
from tests.support.records import DAY0_NS, NAMESPACE

FACTS: dict[str, Callable[[IngesterRig], Any]] = {
    "applied": lambda rig: rig.core.applied_offset,
    "replay-offset": lambda rig: rig.core.state.replay_offset,
    "rows": lambda rig: len(rig.read()),
    "buffered": lambda rig: rig.core.rows_buffered,
    "durable": lambda rig: rig.core.counters.rows_durable,  # rows that this process read again and left out
    "files": lambda rig: len(rig.core.state.files),
    "overwritten": lambda rig: rig.core.accounts.overwritten,
    "duplicate": lambda rig: rig.core.accounts.duplicate,
    "dead": lambda rig: rig.core.accounts.dead,
    "late": lambda rig: rig.core.late_rows.rows,
    "jobs": lambda rig: len(rig.persists),  # handed out and not performed
    "letters": lambda rig: len(rig.letters),
    "paused": lambda rig: "yes" if rig.paused else "no",
    "pauses": lambda rig: rig.pauses,
    "bytes-most": lambda rig: rig.bytes_most,  # in memory, after any step of this process
    "epoch": lambda rig: rig.core.state.epoch,
    "log": lambda rig: rig.stream.kept(),  # records that can still be read
    "log-first": lambda rig: rig.stream.first_offset,
    "log-time": lambda rig: (rig.core.log_time_ns - DAY0_NS) // 10**9,
    "gaps": lambda rig: "+".join(f"{gap.first_offset}-{gap.next_offset}" for gap in rig.core.state.gaps) or "none",
    "swaps": lambda rig: "+".join(map(_outcome, rig.answers)) or "none",
}


def _outcome(answer: Answer) -> str:
    return "refused" if answer.number is None else "committed"


def hold(rig: IngesterRig, words: tuple[str, ...]) -> None:
    """FACT VALUE, FACT at most N, FACT at least N, value ROW or no value ROW.

    Raises AssertionError with what was found, WrongStep.
    """
    match words:
        case ("value", one):
            _hold_value(rig, one, there=True)
        case ("no", "value", one):
            _hold_value(rig, one, there=False)
        case (name, "at", "most", limit) if name in FACTS:
            assert (found := FACTS[name](rig)) <= int(limit), f"{name} is {found}"
        case (name, "at", "least", limit) if name in FACTS:
            assert (found := FACTS[name](rig)) >= int(limit), f"{name} is {found}"
        case (name, value) if name in FACTS:
            assert str(found := FACTS[name](rig)) == value, f"{name} is {found}"
        case _:
            raise WrongStep(f"nothing to expect: {' '.join(words)!r}; facts are value, {', '.join(FACTS)}")


def _hold_value(rig: IngesterRig, word: str, there: bool) -> None:
    """What is read at a key has exactly this field with this value among others, or there is nothing at the key."""
    ((table, (one,)),) = tables_of((word,)).items()
    found = rig.read().get((NAMESPACE, table, frozenset(one.tags.items()), one.time_ns))
    if there:
        assert found is not None, "no such row is read"
        assert found.items() >= one.fields.items(), f"its fields are {found}"
    else:
        assert found is None, f"its fields are {found}"


def partitions_of(word: str) -> Callable[[PartitionKey], bool]:
    """Which are meant by TABLE or TABLE@TIME: all of a table, or the one of that time's day."""
    table, _, time = word.partition("@")
    wanted = None if not time else time_ns(time) // DAY_NS
    return lambda key: TableId(key.namespace, key.table) == TableId(NAMESPACE, table) and wanted in (None, key.day)
