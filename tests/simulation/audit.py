"""What must hold of every manifest record at the instant it is stored, by any ingester.

Numbers are dense and epochs rise by claims alone, so that a fenced ingester never commits after the newer claim; the
replay offset never goes back; a file exists, whole, before a record names it; and the files hold exactly the rows that
the record says are durable, those below the replay offset and those its frontiers cover, with accounts to match.
"""

import json
from collections.abc import Mapping
from typing import Any

import xxhash

from common.catalog.manifest import checkpoint, manifest
from common.catalog.manifest.change import StoredFile
from common.catalog.manifest.manifest import ManifestRecord
from common.catalog.manifest.producers import Producers
from common.catalog.manifest.state import ManifestState
from common.catalog.partition_key import PartitionKey
from common.store.objects import run
from common.values.ids import ManifestNumber, Offset
from tests.simulation.chaos import SimulationFailure
from tests.simulation.model import Key, SequencerModel, difference, fold, keyed
from tests.simulation.parquet import parquet
from tests.simulation.store import MemoryStore
from tests.support.records import rows_of

Rows = list[tuple[Key, Mapping[str, Any]]]


class ManifestAudit:
    """Follows one sequencer's manifest."""

    def __init__(self, model: SequencerModel, store: MemoryStore) -> None:
        self.state = ManifestState(model.sequencer)
        self._model = model
        self._store = store
        self._objects = store.objects
        self._states: dict[int, ManifestState] = {}
        self._checkpoints: set[int] = set()
        self._rows_of_file: dict[str, Rows] = {}
        self._durable_rows: dict[PartitionKey, int] = {}

    def landed(self, path: str, data: bytes) -> None:
        """Check the record or checkpoint that was just put. Raises SimulationFailure."""
        _, _, kind, *name = path.split("/")
        if kind == "checkpoints":
            self._check_checkpoint(ManifestNumber(int(name[0].removesuffix(".json"))))
        elif kind not in ("parts", "hint.json"):
            self._landed(path, data)

    def _check_checkpoint(self, number: ManifestNumber) -> None:
        """By any writer, however late: it says what the records up to its number add up to."""
        found = run(checkpoint.read(self._model.sequencer, number, {}), self._store)
        expected = self._states[number]
        same = found.as_change().to_json() == expected.as_change().to_json() and found.epoch == expected.epoch
        self._hold(same, f"checkpoint {number} says {found}, the records add up to {expected}")
        self._checkpoints.add(number)

    def _landed(self, path: str, data: bytes) -> None:
        record = manifest.decode(data, path, self.state.as_of.producers)
        self._check_order(record)
        before, self.state = self.state, self.state.after(record.change, record.epoch)
        self._states[record.number] = self.state
        for file in record.change.files_added:
            self._check_file(file)
        for partition in self._touched(before, record):
            self._check_content(partition)
        self._check_accounts()
        self._check_producers()
        self._check_dead_letters(before.replay_offset)

    def rows_of_file(self, path: str) -> Rows:
        return self._rows_of_file[path]

    def _check_order(self, record: ManifestRecord) -> None:
        known = self.state
        self._hold(
            record.number - record.checkpoint <= checkpoint.RECORDS_MAX
            and record.checkpoint in (0, *self._checkpoints),
            f"record {record.number} names checkpoint {record.checkpoint}",
        )
        self._hold(record.number == known.number + 1, f"manifest record {record.number} after {known.number}")
        claimed = record.change.claim is not None
        self._hold(
            record.epoch == known.epoch + claimed,
            f"record {record.number} of epoch {record.epoch} after epoch {known.epoch}, a claim: {claimed}",
        )
        replay_offset = record.change.as_of.replay_offset
        self._hold(replay_offset >= known.replay_offset, f"replay offset {replay_offset} after {known.replay_offset}")
        self._hold(replay_offset <= self._model.next_offset, f"replay offset {replay_offset} is past the next offset")
        self._hold(
            record.change.as_of.log_time_ns >= known.as_of.log_time_ns, f"log time went back in record {record.number}"
        )
        self._hold(not record.change.gaps, f"record {record.number} names a gap")

    def _check_file(self, file: StoredFile) -> None:
        data = self._objects.get(file.path)
        self._hold(data is not None, f"{file.path} is named and does not exist")
        assert data is not None
        self._hold(xxhash.xxh3_64_intdigest(data) == file.checksum, f"{file.path} is not what the manifest names")
        table = parquet(data)
        self._hold(table.num_rows == file.rows, f"{file.path} has {table.num_rows} rows, not {file.rows}")
        rows = [keyed(file.partition.namespace, file.partition.table, row) for row in rows_of(table)]
        self._hold(len({key for key, _ in rows}) == len(rows), f"{file.path} has a key twice")
        self._hold({key.partition for key, _ in rows} == {file.partition}, f"{file.path} has rows of other partitions")
        self._rows_of_file[file.path] = rows

    def _touched(self, before: ManifestState, record: ManifestRecord) -> set[PartitionKey]:
        passed = self._model.records[before.replay_offset : self.state.replay_offset]
        by_offset = {key.partition for record in passed for key, _ in record.rows}
        by_file = {file.partition for file in record.change.files_added}
        return {*by_offset, *by_file, *record.change.frontiers}

    def _check_content(self, partition: PartitionKey) -> None:
        durable = list(
            self._model.rows(
                self._model.next_offset,
                lambda offset, key: key.partition == partition and self.state.covers(partition, offset, key.time_ns),
            )
        )
        self._durable_rows[partition] = len(durable)
        files = [file for file in self.state.files.values() if file.partition == partition]
        stored = fold(row for file in files for row in self._rows_of_file[file.path])
        wrong = difference(stored, fold(durable))
        self._hold(not wrong, f"manifest record {self.state.number} says durable what its files do not hold: {wrong}")

    def _check_accounts(self) -> None:
        accounts = self.state.accounts
        below = self._model.records[: self.state.replay_offset]
        stored = sum(file.rows for file in self.state.files.values())
        expected = (
            sum(self._durable_rows.values()),
            stored,
            sum(record.rows_duplicate for record in below),
            sum(record.rows_dead for record in below),
        )
        found = (accounts.stored + accounts.overwritten, accounts.stored, accounts.duplicate, accounts.dead)
        self._hold(
            found == expected,
            f"manifest record {self.state.number}: accounts (durable, stored, duplicate, dead) {found}, not {expected}",
        )

        self._hold(
            self.state.rows_ahead == 0 or ((self.state.rows_ahead or 0) > 0 and self.state.stores_ahead),
            f"manifest record {self.state.number}: {self.state.rows_ahead} rows are stored ahead of "
            f"{self.state.as_of.rows_taken} taken",
        )

    def _check_producers(self) -> None:
        expected = Producers()
        for record in self._model.records[: self.state.replay_offset]:
            if record.producer is not None:
                expected.add(*record.producer, 0)
        found = {producer: value["ranges"] for producer, value in self.state.as_of.producers.to_json().items()}
        wanted = {producer: value["ranges"] for producer, value in expected.to_json().items()}
        self._hold(
            found == wanted,
            f"manifest record {self.state.number}: producers {found}, as of {self.state.replay_offset} are {wanted}",
        )

    def _check_dead_letters(self, since: Offset) -> None:
        for record in self._model.records[since : self.state.replay_offset]:
            if not record.is_dead:
                continue
            base = f"dead-letter/{self._model.sequencer:03}/{record.offset:020}"
            self._hold(
                self._objects.get(f"{base}.bin") == record.record.to_bytes(),
                f"replay offset {self.state.replay_offset} is above {record.offset}, which has no dead letter",
            )
            note = json.loads(self._objects.get(f"{base}.json", b"{}"))
            self._hold(note.get("offset") == record.offset and note.get("reason"), f"{base}.json says {note}")

    def _hold(self, holds: Any, otherwise: str) -> None:
        if not holds:
            raise SimulationFailure(f"sequencer {self._model.sequencer}: {otherwise}")
