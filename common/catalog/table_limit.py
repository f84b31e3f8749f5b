"""How many tables a namespace may have, known without a listing at each write.

Asked only before a table that this process has no schema of is settled. The namespace's tables are listed then, if they
have not been for RELIST_S; in between this process adds those that it settles itself. So the limit is soft: of several
routers, each may exceed it by what the others have added since its list, and by what it settles itself at one time.
"""

from dataclasses import dataclass

from common.catalog.paths import path_component, schema_folder
from common.store.objects import List, Steps
from common.values.clock import Clock
from common.values.errors import InvalidRequest
from common.values.shown import shown

RELIST_S = 30.0
"""Listing ten thousand tables takes up to a second on a local disk, and some ten requests of a cloud."""


class NamespaceFull(InvalidRequest):
    """The namespace has as many tables as it may have; the message says what to do."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """tables: as path components. at_s: monotonic time before the listing."""

    tables: set[str]
    at_s: float


class TableLimit:
    """Of every namespace alike. Its steps, and `note`, may run on any thread."""

    def __init__(self, tables_max: int, clock: Clock) -> None:
        """tables_max: 0 is no limit."""
        self._tables_max = tables_max
        self._clock = clock
        self._namespaces: dict[str, _Listed] = {}

    def check(self, namespace: str, table: str) -> Steps[None]:
        """Raises NamespaceFull for a table that does not exist and would be one too many; Unavailable."""
        if not self._tables_max:
            return
        name = path_component(table)
        listed = self._namespaces.get(namespace)
        if listed is None or (name not in listed.tables and self._clock.monotonic_s() - listed.at_s >= RELIST_S):
            listed = yield from self._list(namespace)
        if name not in listed.tables and len(listed.tables) >= self._tables_max:
            raise NamespaceFull(
                f"namespace {shown(namespace)} may have no new table: it has {len(listed.tables)} of at most "
                f"{self._tables_max}; write to another table or namespace, or raise the routers' tables_max",
                namespace=namespace,
            )

    def note(self, namespace: str, table: str) -> None:
        """The table exists: settled by this process, or found."""
        if listed := self._namespaces.get(namespace):
            listed.tables.add(path_component(table))

    def _list(self, namespace: str) -> Steps[_Listed]:
        at_s = self._clock.monotonic_s()
        paths = yield List(schema_folder(namespace))
        listed = self._namespaces[namespace] = _Listed({path.split("/")[2] for path in paths}, at_s)
        return listed
