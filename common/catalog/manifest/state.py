"""The state that a sequencer's manifest records add up to: all changes so far, as one value.

A state is shared between threads and never changed. The next state shares with it everything that the record did not
change: a record costs what it changes, and not more with many files, partitions or tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from immutables import Map

from common.catalog.manifest.change import NOBODY, Accounts, AsOf, Change, Gap, Instance
from common.catalog.manifest.files import Files, Part
from common.catalog.manifest.frontier import Frontier
from common.catalog.partition_key import PartitionKey
from common.values.ids import NO_EPOCH, NO_MANIFEST, Epoch, ManifestNumber, Offset, SequencerId
from common.values.schema import Columns, TableId

FRONTIERS_SPARE = 64


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a checkpoint as the store has it. digest: xxh3-128 of its bytes, in hex."""

    files: Part
    digest: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is durable: the state as of record `number`, 0 for none. parts: by their numbers."""

    number: ManifestNumber = NO_MANIFEST
    parts: Mapping[int, StoredPart] = field(default_factory=dict)


NO_CHECKPOINT = Checkpoint()


@dataclass(frozen=True, slots=True)
class ManifestState:
    """All records of a sequencer up to `number`, added up. files: by path, in the order of their commits.

    frontiers: of the partitions that have corners at or above the replay offset, and some that need none any more: they
    are removed together, once they are as many as the others. redriven: offsets of dead letters. checkpoint: the newest
    one that its holder knows.
    """

    sequencer: SequencerId
    number: ManifestNumber = NO_MANIFEST
    epoch: Epoch = NO_EPOCH
    instance: Instance = NOBODY
    as_of: AsOf = field(default_factory=AsOf)
    files: Files = field(default_factory=Files)
    frontiers: Map[PartitionKey, Frontier] = field(default_factory=Map)
    sort_keys: Map[TableId, tuple[str, ...]] = field(default_factory=Map)
    columns: Map[TableId, Columns] = field(default_factory=Map)
    gaps: tuple[Gap, ...] = ()
    redriven: frozenset[Offset] = frozenset()
    checkpoint: Checkpoint = NO_CHECKPOINT
    frontiers_max: int = FRONTIERS_SPARE

    @property
    def replay_offset(self) -> Offset:
        return self.as_of.replay_offset

    @property
    def accounts(self) -> Accounts:
        return self.as_of.accounts

    @property
    def rows_ahead(self) -> int | None:
        """Rows of records at or above the replay offset that are settled already, by the accounts; None: not known.

        It is 0 where nothing is stored ahead, and never less: all rows below the replay offset are settled, each once.
        """
        taken = self.as_of.rows_taken
        return None if taken is None else self.accounts.settled - taken

    @property
    def stored_end(self) -> Offset:
        """Above every offset with rows in a file: the replay offset, or higher where some partition is ahead of it."""
        corners = (offset for frontier in self.frontiers.values() for offset, _ in frontier.corners)
        return max(self.replay_offset, Offset(max(corners, default=-1) + 1))

    @property
    def stores_ahead(self) -> bool:
        """Whether files may have rows of records at or above the replay offset."""
        return bool(self._needed_frontiers())

    @property
    def http_address(self) -> str:
        return self.instance.http_address

    @property
    def flight_address(self) -> str:
        return self.instance.flight_address

    def covers(self, key: PartitionKey, offset: Offset, time_ns: int) -> bool:
        """Whether that row is durable in the store."""
        frontier = self.frontiers.get(key)
        return offset < self.replay_offset or (frontier is not None and frontier.covers(offset, time_ns))

    def persisted_until(self, key: PartitionKey) -> int | None:
        """The greatest time in a file of the partition; None where it has none."""
        return max((file.time_ns_max for file in self.files.of_partition(key)), default=None)

    def after(self, change: Change, epoch: Epoch) -> "ManifestState":
        """The state with one more record, written under `epoch`."""
        state = replace(
            self,
            number=ManifestNumber(self.number + 1),
            epoch=epoch,
            instance=change.claim or self.instance,
            as_of=change.as_of,
            files=self.files.after(change.files_added, change.files_removed),
            frontiers=_updated(self.frontiers, change.frontiers),
            sort_keys=_updated(self.sort_keys, change.sort_keys),
            columns=_updated(
                self.columns, {table: {**self.columns.get(table, {}), **new} for table, new in change.columns.items()}
            ),
            gaps=self.gaps + change.gaps,
            redriven=self.redriven.union(change.redriven) if change.redriven else self.redriven,
        )
        return state if len(state.frontiers) <= state.frontiers_max else state._with_needed_frontiers()

    def at_checkpoint(self, files: Files, checkpoint: Checkpoint) -> "ManifestState":
        """With `files` as the checkpoint has them."""
        return replace(self, files=files, checkpoint=checkpoint)

    def as_change(self, *, with_files: bool = True) -> Change:
        """The whole state as one change from nothing."""
        return Change(
            as_of=self.as_of,
            claim=self.instance,
            files_added=tuple(self.files.values()) if with_files else (),
            frontiers=self._needed_frontiers(),
            sort_keys=self.sort_keys,
            columns=self.columns,
            gaps=self.gaps,
            redriven=tuple(sorted(self.redriven)),
        )

    def _needed_frontiers(self) -> dict[PartitionKey, Frontier]:
        above = ((key, frontier.above(self.replay_offset)) for key, frontier in self.frontiers.items())
        return {key: frontier for key, frontier in above if frontier}

    def _with_needed_frontiers(self) -> "ManifestState":
        needed = self._needed_frontiers()
        return replace(self, frontiers=Map(needed), frontiers_max=2 * len(needed) + FRONTIERS_SPARE)


K = TypeVar("K")
V = TypeVar("V")


def _updated(known: Map[K, V], changed: Mapping[K, V]) -> Map[K, V]:
    return known.update(changed) if changed else known
