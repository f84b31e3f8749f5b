"""What the actions of the router's core do, and which events answer them, with every failure."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest
import structlog

from common.catalog.schema_store import SchemaStore
from common.catalog.table_schema import NO_SCHEMA, TableSchema, to_json
from common.store.objects import run
from common.values.errors import PenstockError, Unavailable
from common.values.ids import Offset, SequencerId
from common.values.schema import ColumnType
from router.core.events import (
    Append,
    AppendDone,
    AppendFailed,
    Settle,
    Settled,
    SettleFailed,
)
from router.performer import Performer
from tests.support.dict_store import DictStore
from writebuffer.contract import Appended, AppendedRange

SETTLE = Settle(7, "ns", {name: {"f": ColumnType.FLOAT} for name in "abc"}, {})
APPEND = Append(7, SequencerId(2), [])


class Writer:
    """append_many does as it was made to."""

    def __init__(self, append_many: Callable[[], "Future[AppendedRange]"]) -> None:
        self._append_many = append_many

    def append_many(self, sequencer: SequencerId, records: Sequence[Any]) -> "Future[AppendedRange]":
        return self._append_many()


def performer() -> Performer:
    return Performer(SchemaStore(lambda: "nonce"), structlog.get_logger())


def appended(append_many: Callable[[], "Future[AppendedRange]"]) -> AppendDone | AppendFailed:
    events: list[AppendDone | AppendFailed] = []
    performer().append(APPEND, Writer(append_many), events.append)
    (event,) = events
    return event


def test_tables_are_settled_one_after_another() -> None:
    """The event has the schema of each."""
    event = run(performer().settle(SETTLE), DictStore())
    assert isinstance(event, Settled)
    assert {table: schema.version for table, schema in event.schemas.items()} == {"a": 1, "b": 1, "c": 1}


def test_what_was_settled_before_an_error_is_reported_with_it() -> None:
    """The store goes away at the second table: the first one's schema is in the event."""
    store = DictStore()
    store.fail("schema/ns/b")
    event = run(performer().settle(SETTLE), store)
    assert isinstance(event, SettleFailed)
    assert (isinstance(event.error, Unavailable), list(event.schemas)) == (True, ["a"])


def test_no_table_is_written_where_the_columns_of_another_do_not_fit() -> None:
    """The event has what is there; the core asks again for what it still needs."""
    store = DictStore()
    other = run(SchemaStore(lambda: "other").settle("ns", "b", NO_SCHEMA, {"f": ColumnType.TAG}), store)
    event = run(performer().settle(SETTLE), store)
    assert event == Settled(7, {"b": other})
    assert len(store.objects) == 1


def test_tables_are_read_before_the_first_is_written_and_not_again() -> None:
    """As many calls as tables one by one would cost."""
    store = DictStore()
    run(performer().settle(SETTLE), store)
    assert [kind for kind, _ in store.calls] == ["get"] * 3 + ["put_if_absent"] * 3


class OvertakingStore(DictStore):
    """Another router settles `b` just before this one does."""

    def put_if_absent(self, path: str, data: bytes) -> None:
        if path.startswith("schema/ns/b/") and path not in self.objects:
            super().put_if_absent(path, to_json("ns", "b", TableSchema(1, {"f": ColumnType.TAG}), "theirs"))
        super().put_if_absent(path, data)


def test_after_a_lost_race_to_another_type_no_further_table_is_written() -> None:
    """Between the look and the write: what is written is kept, and the rest waits for the next round."""
    event = run(performer().settle(SETTLE), OvertakingStore())
    assert isinstance(event, Settled)
    assert {table: schema.columns["f"] for table, schema in event.schemas.items()} == {
        "a": ColumnType.FLOAT,
        "b": ColumnType.TAG,
    }


def test_settling_ends_when_it_is_cancelled() -> None:
    """Between two tables; the store is not asked again."""
    one, store = performer(), DictStore()
    steps = one.settle(SETTLE)
    one.cancel(7)
    event = run(steps, store)
    assert isinstance(event, SettleFailed)
    assert "0 of 3 tables settled" in event.error.message
    assert store.calls == []


def test_an_append_reports_its_last_offset() -> None:
    """That of the last record, once the future has it."""
    done: Future[AppendedRange] = Future()
    done.set_result(AppendedRange(Appended(Offset(5), 0), Appended(Offset(9), 0)))
    assert appended(lambda: done) == AppendDone(7, SequencerId(2), Offset(9))


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("error", [Unavailable("away"), ZeroDivisionError("secret detail")])
def test_an_append_that_fails_in_any_way_is_an_event(raised: bool, error: Exception) -> None:
    """At the call or later, by the contract or by a defect; only the first kind keeps its message."""

    def fail() -> "Future[AppendedRange]":
        if raised:
            raise error
        failed: Future[AppendedRange] = Future()
        failed.set_exception(error)
        return failed

    event = appended(fail)
    assert isinstance(event, AppendFailed)
    assert isinstance(event.error, PenstockError)
    assert (event.error is error) == isinstance(error, PenstockError)
    assert "secret" not in event.error.message


def test_an_append_that_the_backend_cancels_is_an_event() -> None:
    """A backend that closes may cancel what it never began; the request is still answered."""
    cancelled: Future[AppendedRange] = Future()
    cancelled.cancel()
    event = appended(lambda: cancelled)
    assert isinstance(event, AppendFailed)
    assert isinstance(event.error, Unavailable)
    assert event.error.written == "unknown"
