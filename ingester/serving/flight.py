"""Unpersisted rows over Arrow Flight.

DoGet with a ticket (common/reading.py, which also has the marks of an answer) streams the rows of that table that
are in memory (those of running persist jobs included), oldest first within each day, in penstock's schema.

DoAction "tables" answers [[namespace, table], …] of the rows in memory, with the same marks. A query sees what was
acknowledged before it: with wait_for_offset it waits until the applied offset is above that, at most timeout_s, or
fails; without, it waits for the buffer's next offset of that moment, at most FRESH_S, and then answers with what is
applied. Errors: FlightUnavailableError while replaying or at the timeout (try again), INVALID_ARGUMENT for a bad
ticket.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight

from common.catalog.merge import concatenated
from common.reading import META_APPLIED, META_EPOCH, META_MANIFEST, META_NEWEST, WAIT_S, Ticket
from common.values.addresses import Address
from common.values.clock import Clock
from common.values.errors import InvalidRequest, Unavailable
from common.values.ids import Offset
from common.values.schema import union
from ingester.core.view import View
from ingester.persist.job import view_batches
from ingester.serving.published import Published

BATCH_ROWS = 65_536
"""A large answer is many messages: one of all rows could outgrow what gRPC carries."""

FRESH_S = 1.0
"""An ingester that lags further than this answers with what it has: dashboards go on while it catches up."""


def table_rows(view: View, ticket: Ticket) -> pa.Table:
    """The rows of one table in a view; without rows, a table with `time` alone."""
    parts = [
        batch
        for key, partition in view.partitions.items()
        if (key.namespace, key.table) == (ticket.namespace, ticket.table)
        and (ticket.day_min is None or key.day >= ticket.day_min)
        and (ticket.day_max is None or key.day <= ticket.day_max)
        for batch in view_batches(partition)
    ]
    columns = union(
        partition.columns
        for key, partition in view.partitions.items()
        if (key.namespace, key.table) == (ticket.namespace, ticket.table)
    )
    return concatenated(parts, columns)


class QueryServer(pyarrow.flight.FlightServerBase):  # type: ignore[misc]
    """Serves one ingester's rows. `port` is the one bound; `shutdown()` lets running streams end."""

    def __init__(self, published: Published, clock: Clock, address: Address) -> None:
        """address: an IP address to listen on; port 0 takes a free one."""
        self._published = published
        self._clock = clock
        super().__init__(f"grpc://{address}")

    def do_get(self, context: Any, ticket: Any) -> Any:
        with _flight_errors():
            asked = Ticket.from_bytes(ticket.ticket)
            self._published.wait(self._clock, asked.wait_for_offset, asked.timeout_s)
            fresh_s = min(FRESH_S, asked.timeout_s) if asked.wait_for_offset is None else 0
            view, newest = self._published.wait_fresh(fresh_s)
            rows = table_rows(view, asked)
        answer = rows.replace_schema_metadata(self._marks(view, newest)).combine_chunks()
        return pyarrow.flight.RecordBatchStream(answer.to_reader(max_chunksize=BATCH_ROWS))

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        with _flight_errors():
            if action.type != "tables":
                raise InvalidRequest(f"action {action.type!r} is unknown; there is one, 'tables'")
            self._published.wait(self._clock, None, WAIT_S)
            view, newest = self._published.wait_fresh(FRESH_S)
            tables = sorted({(key.namespace, key.table) for key in view.partitions})
        marks = {name.decode(): value.decode() for name, value in self._marks(view, newest).items()}
        yield json.dumps({"tables": tables, **marks}).encode()

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        return [("tables", "namespaces and tables with rows in memory, as JSON")]

    def _marks(self, view: View, newest: Offset | None) -> dict[bytes, bytes]:
        marks = {
            META_MANIFEST: view.manifest_number,
            META_EPOCH: self._published.epoch,
            META_APPLIED: view.applied_offset,
        }
        if newest is not None:
            marks[META_NEWEST] = newest
        return {name: str(value).encode() for name, value in marks.items()}


class _flight_errors:  # noqa: N801  reads as the statement it is
    """penstock's errors as Flight's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unavailable):
            raise pyarrow.flight.FlightUnavailableError(error.message) from error
        if isinstance(error, InvalidRequest):
            raise pa.ArrowInvalid(error.message) from error
