"""What a query and an ingester say to each other over Arrow Flight: the ticket, and the marks of an answer.

A ticket is JSON {"namespace", "table", "day_min"?, "day_max"?, "wait_for_offset"?, "timeout_s"?}; days count from 1970.
An answer's schema metadata names the manifest number that its rows complement: a reader that reads exactly that
number's files sees each row once. The server is ingester/serving/flight.py, the client penstock/query/memory_rows.py.
"""

import json
from dataclasses import dataclass

from common.values.errors import InvalidRequest
from common.values.ids import Offset

WAIT_S = 10.0
TIMEOUT_S_MAX = 3600

_NO_SQL = "an ingester answers no SQL: use `penstock query`"
"""To InfluxDB 3's clients, whose tickets have a `sql_query`."""

META_MANIFEST = b"penstock.manifest_number"
META_EPOCH = b"penstock.epoch"
META_APPLIED = b"penstock.applied_offset"
META_NEWEST = b"penstock.newest_offset"
"""The buffer's next offset when the query arrived; absent while the buffer is away."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """day_min, day_max: inclusive. wait_for_offset: answer once the record at this offset is applied."""

    namespace: str
    table: str
    day_min: int | None = None
    day_max: int | None = None
    wait_for_offset: Offset | None = None
    timeout_s: float = WAIT_S

    def to_bytes(self) -> bytes:
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Ticket":
        """Raises InvalidRequest saying what a ticket is."""
        try:
            values = json.loads(data)
            if "sql_query" in values:
                raise TypeError(_NO_SQL)
            ticket = cls(**values)
            if not isinstance(ticket.namespace, str) or not isinstance(ticket.table, str):
                raise TypeError("namespace and table are text")
            numbers = (ticket.day_min, ticket.day_max, ticket.wait_for_offset)
            if not all(number is None or isinstance(number, int) for number in numbers):
                raise TypeError("days and offsets are whole numbers")
            if not 0 <= float(ticket.timeout_s) <= TIMEOUT_S_MAX:
                raise ValueError(f"timeout_s is {ticket.timeout_s}, give 0 to {TIMEOUT_S_MAX}")
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidRequest(
                f'ticket {data[:200]!r}: {error}; a ticket is JSON like {{"namespace": "metrics", "table": "cpu"}}'
            ) from None
        return ticket
