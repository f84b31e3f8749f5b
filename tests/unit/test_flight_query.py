"""Unpersisted rows over Flight: one immutable answer, with the manifest number that it complements."""

import json
import threading
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.flight
import pytest

from common.reading import META_APPLIED, META_EPOCH, META_MANIFEST, Ticket
from common.values.clock import FakeClock
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import Epoch, Offset, SequencerId
from common.values.schema import DAY_NS
from ingester.core.view import View
from ingester.serving.published import Published
from tests.support.live_rig import LiveRig
from tests.support.records import DAY0_NS, Row, row, rows_of


@pytest.fixture
def live() -> Iterator[LiveRig]:
    with LiveRig() as rig:
        yield rig


@pytest.fixture
def client(live: LiveRig) -> Iterator[pyarrow.flight.FlightClient]:
    with pyarrow.flight.connect(f"grpc://{live.address}") as client:
        yield client


def get(client: pyarrow.flight.FlightClient, table: str = "cpu", **asked: object) -> pa.Table:
    ticket = Ticket("metrics", table, **{"timeout_s": 5.0, **asked})  # type: ignore[arg-type]
    return client.do_get(pyarrow.flight.Ticket(ticket.to_bytes())).read_all()


def marks(rows: pa.Table) -> tuple[int, int, int]:
    found = rows.schema.metadata
    return int(found[META_MANIFEST]), int(found[META_EPOCH]), int(found[META_APPLIED])


def put(live: LiveRig, *rows: Row, table: str = "cpu") -> None:
    live.rig.append({table: list(rows)})
    live.rig.poll()
    live.show()


def test_rows_come_with_the_manifest_number_they_complement(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """At every step of a persist the rows are in the answer or in that number's files, never in both."""
    put(live, row(DAY0_NS, "a", v=1.0))
    found = get(client)
    assert rows_of(found) == [row(DAY0_NS, "a", v=1.0)]
    assert marks(found) == (1, 1, 1)
    live.rig.tick(301)
    live.rig.persist()
    live.show()
    assert (rows_of(get(client)), marks(get(client))[0]) == ([row(DAY0_NS, "a", v=1.0)], 1)
    live.rig.commit()
    live.show()
    assert (rows_of(get(client)), marks(get(client))[0]) == ([], 2)


def test_rows_of_all_chunks_oldest_first(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """Nothing is merged here; columns that a chunk lacks are null; other tables and namespaces stay out."""
    rows = [row(DAY0_NS, "b", v=1.0), row(DAY0_NS, "a", w=2), row(DAY0_NS, "b", v=3.0)]
    for each in rows:
        put(live, each)
    put(live, row(DAY0_NS, "x", v=9.0), table="mem")
    live.rig.append({"cpu": [row(DAY0_NS, "y", v=9.0)]}, namespace="other")
    live.rig.poll()
    live.show()
    assert rows_of(get(client)) == rows


def test_days_can_be_chosen(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """Inclusive at both ends, counted from 1970."""
    day = DAY0_NS // DAY_NS
    rows = [row(DAY0_NS + n * DAY_NS, "a", v=float(n)) for n in range(4)]
    put(live, *rows)
    assert rows_of(get(client, day_min=day + 1, day_max=day + 2)) == rows[1:3]
    assert rows_of(get(client, day_max=day - 1)) == []


def test_a_table_without_rows_has_a_time_column(client: pyarrow.flight.FlightClient) -> None:
    """Unknown here is not an error: its rows may all be persisted."""
    found = get(client, table="nothing")
    assert (found.schema.names, found.num_rows) == (["time"], 0)
    assert marks(found) == (1, 1, 0)


def test_many_rows_come_in_batches(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """A large answer is streamed, not one message that may outgrow what gRPC carries."""
    put(live, *(row(DAY0_NS + n, f"h{n % 5}", v=float(n)) for n in range(70_000)))
    ticket = pyarrow.flight.Ticket(Ticket("metrics", "cpu").to_bytes())
    sizes = [chunk.data.num_rows for chunk in client.do_get(ticket)]
    assert sum(sizes) == 70_000
    assert len(sizes) > 1


def test_a_query_waits_for_the_record_its_token_names(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """It answers as soon as the applied offset is above it."""
    live.rig.append({"cpu": [row(DAY0_NS, "a", v=1.0)]})
    answers: list[pa.Table] = []
    thread = threading.Thread(target=lambda: answers.append(get(client, wait_for_offset=0, timeout_s=30.0)))
    thread.start()
    thread.join(0.2)
    assert not answers
    live.rig.poll()
    live.show()
    thread.join(30)
    assert rows_of(answers[0]) == [row(DAY0_NS, "a", v=1.0)]


def test_a_wait_that_is_too_long_names_the_sequencer_and_how_far_it_got(
    live: LiveRig, client: pyarrow.flight.FlightClient
) -> None:
    """The timeout's message is for the person who waits."""
    put(live, row(DAY0_NS, "a", v=1.0))
    with pytest.raises(
        pyarrow.flight.FlightUnavailableError, match=r"sequencer 0 has applied up to 1 and not yet 7 after 0.05 s"
    ):
        get(client, wait_for_offset=7, timeout_s=0.05)


def test_while_replaying_it_is_unavailable(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """Until all that was readable at its start is applied, rows that were readable before would be missing."""
    live.begin(ready_at=Offset(2))
    put(live, row(DAY0_NS, "a", v=1.0))
    with pytest.raises(pyarrow.flight.FlightUnavailableError, match="applied up to 1 and not yet 1 after"):
        get(client, timeout_s=0.05)
    put(live, row(DAY0_NS, "a", v=1.0))
    assert get(client, timeout_s=0.05).num_rows == 2


def test_before_the_claim_nothing_is_answered() -> None:
    """An ingester that holds no epoch yet has nothing to say."""
    published = Published(SequencerId(5))
    with pytest.raises(Unavailable, match="sequencer 5 has applied up to 0 and not yet the start of its stream"):
        published.wait(FakeClock(), None, 0.0)
    published.begin(Epoch(1), View(published.view.manifest_number, Offset(3), {}), Offset(3), lambda: Offset(3))
    assert published.wait(FakeClock(), None, 0.0).applied_offset == 3


def test_a_ticket_of_influxdb_3_is_told_where_sql_is_answered(client: pyarrow.flight.FlightClient) -> None:
    """Its clients send the query in the ticket."""
    data = b'{"database": "metrics", "sql_query": "SELECT 1", "query_type": "sql"}'
    with pytest.raises(pa.ArrowInvalid, match="an ingester answers no SQL: use `penstock query`"):
        client.do_get(pyarrow.flight.Ticket(data)).read_all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"namespace": "metrics"}',
        b'{"namespace": 1, "table": "cpu"}',
        b'{"namespace": "metrics", "table": "cpu", "day_min": "x"}',
        b'{"namespace": "metrics", "table": "cpu", "timeout_s": "soon"}',
        b'{"namespace": "metrics", "table": "cpu", "timeout_s": NaN}',
        b'{"namespace": "metrics", "table": "cpu", "timeout_s": 1e300}',
        b'{"namespace": "metrics", "table": "cpu", "other": 1}',
    ],
)
def test_a_bad_ticket_is_refused(client: pyarrow.flight.FlightClient, data: bytes) -> None:
    """With what a ticket looks like; the server goes on."""
    with pytest.raises(pa.ArrowInvalid, match="a ticket is JSON like"):
        client.do_get(pyarrow.flight.Ticket(data)).read_all()
    with pytest.raises(InvalidRequest):
        Ticket.from_bytes(data)
    assert get(client).num_rows == 0


def test_a_ticket_survives_its_bytes() -> None:
    """Every request arrives as it was sent."""
    ticket = Ticket("näme", 'ta"ble', -5, 7, Offset(2**60), 0.25)
    assert Ticket.from_bytes(ticket.to_bytes()) == ticket


def test_the_tables_in_memory_are_listed(live: LiveRig, client: pyarrow.flight.FlightClient) -> None:
    """Each once, with the same marks as rows have."""
    put(live, row(DAY0_NS, "a", v=1.0), row(DAY0_NS + DAY_NS, "a", v=1.0))
    put(live, row(DAY0_NS, "a", v=1.0), table="mem")
    (answer,) = client.do_action(("tables", b""))
    values = json.loads(answer.body.to_pybytes())
    assert values["tables"] == [["metrics", "cpu"], ["metrics", "mem"]]
    assert values["penstock.manifest_number"] == "1"


def test_an_unknown_action_is_refused(client: pyarrow.flight.FlightClient) -> None:
    """With the one there is, which is also what the server lists."""
    with pytest.raises(pa.ArrowInvalid, match="'drop' is unknown; there is one, 'tables'"):
        list(client.do_action(("drop", b"")))
    assert [action.type for action in client.list_actions()] == ["tables"]
