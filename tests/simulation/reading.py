"""Queries: a view is taken now, and the files of exactly the manifest number it complements are read later."""

from dataclasses import dataclass

from common.catalog.manifest import manifest
from common.catalog.manifest.state import ManifestState
from common.reading import Ticket
from common.store.objects import ObjectStore, run
from common.values.ids import SequencerId
from common.values.schema import TableId
from ingester.core.view import View
from ingester.serving.flight import table_rows
from penstock.query.memory_rows import SequencerRows

# How files and memory are joined is the product's own code: a copy here would be what is tested.
from penstock.query.sources import table_sources as join
from tests.simulation.chaos import SimulationFailure
from tests.simulation.model import Content, Key, SequencerModel, difference, fold, keyed
from tests.simulation.parquet import parquet
from tests.support.records import rows_of


def manifest_of(view: View, sequencer: SequencerId, store: ObjectStore) -> ManifestState:
    """The manifest whose files the view complements."""
    return run(manifest.load_at(sequencer, view.manifest_number), store)


@dataclass(frozen=True, slots=True)
class Query:
    """One sequencer's view as a reader took it."""

    sequencer: SequencerId
    view: View

    def finish(self, model: SequencerModel, store: ObjectStore) -> None:
        """Read everything; raises SimulationFailure unless it is what the buffer held below the applied offset."""
        state = manifest_of(self.view, self.sequencer, store)
        found = read(self.view, state, store)
        wrong = difference(found, fold(model.rows(self.view.applied_offset)))
        if wrong:
            raise SimulationFailure(
                f"sequencer {self.sequencer}: a query at applied offset {self.view.applied_offset} and manifest "
                f"{self.view.manifest_number}: {wrong}"
            )
        self._check_memory(model, state)

    def _check_memory(self, model: SequencerModel, state: ManifestState) -> None:
        """In memory is exactly what that manifest does not cover, so that each row is in one place."""
        buffered = sum(partition.rows for partition in self.view.partitions.values())
        expected = model.rows(
            self.view.applied_offset, lambda offset, key: not state.covers(key.partition, offset, key.time_ns)
        )
        count = sum(1 for _ in expected)
        if buffered != count:
            raise SimulationFailure(
                f"sequencer {self.sequencer}: {buffered} rows in memory with manifest {state.number}, not {count}"
            )


def read(view: View, state: ManifestState, store: ObjectStore) -> Content:
    """All rows of all tables. Raises SimulationFailure where a key comes twice."""
    content: Content = {}
    for table in sorted(_tables(view, state)):
        rows = table_rows(view, Ticket(table.namespace, table.table))
        sources = join(table.namespace, table.table, [SequencerRows(rows, state)], store)
        stored = [parquet(store.get(file.path)) for file in sources.files]
        for part in (*stored, *sources.merged):
            for key, fields in (keyed(table.namespace, table.table, row) for row in rows_of(part)):
                _put(content, key, dict(fields))
    return content


def _put(content: Content, key: Key, fields: dict[str, object]) -> None:
    if key in content:
        raise SimulationFailure(f"a query gives {key} twice")
    content[key] = fields


def _tables(view: View, state: ManifestState) -> set[TableId]:
    stored = {file.partition.table_id for file in state.files.values()}
    return stored | {partition.table_id for partition in view.partitions}
