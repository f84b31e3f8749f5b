"""What a check can find, how bad it is, and what to do about it."""

import enum
from dataclasses import dataclass
from typing import Any

from common.catalog.manifest.change import StoredFile
from common.values.ids import SequencerId
from common.values.shown import counted


class Level(enum.IntEnum):
    """NOTE: nothing is wrong. LEFT: something is there that nobody needs. DAMAGE: something that was written is not."""

    NOTE = 0
    LEFT = 1
    DAMAGE = 2


class Kind(enum.Enum):
    """The value is the word for it in reports."""

    MISSING = "missing"
    SHORTENED = "shortened"
    LENGTHENED = "lengthened"
    CHANGED = "changed"
    UNREAD = "unread"
    CONTENT = "content"
    MANIFEST = "manifest"
    RECORD = "record"
    CHECKPOINT = "checkpoint"
    LATER_EPOCH = "later epoch"
    ACCOUNTS = "accounts"
    DEAD_LETTER = "dead letter"
    ORPHAN = "orphan"
    WAITING = "waiting"
    DISPLACED = "displaced"
    GAP_ROWS = "rows of a gap"
    FOREIGN = "foreign"

    @property
    def level(self) -> Level:
        return _MEANING[self][0]

    @property
    def advice(self) -> str:
        return _MEANING[self][1]


_RESTORE = (
    "Restore the file from a copy of the store, or bring its rows back from the write buffer, as long as that has the "
    "offsets named: `penstock replay --sequencer N --from-offset K`, K the oldest offset that `penstock status` shows "
    "(docs/replay.md). Queries that need the file fail until then. If nobody touched it, check the disk."
)
_UNREAD = (
    "The store did not return the file. Check the disk, and the permissions of the folder or bucket, then run this "
    "again; if it cannot be read any more, restore it from a copy of the store."
)
_CONTENT = (
    "It was written like this, or the manifest was: keep a copy of the store and the log, and report it. `penstock "
    "replay --rewrite` makes its partition anew from the log."
)
_MANIFEST = (
    "Restore the manifest's record from a copy of the store. The data files are needed as they are: remove none. "
    "What belongs to this sequencer was not checked any further."
)
_RECORD = (
    "No row is lost: the newest checkpoint holds what the record said. Restore it from a copy of the store, for should "
    "that checkpoint be damaged, too, nothing else does."
)
_CHECKPOINT = (
    "Nothing is lost: checkpoints follow from the records. The newest is put again when the sequencer's ingester is "
    "started; an older one is read only for the state of its time."
)
_LATER_EPOCH = (
    "The manifest is older than the file: it was lost, or restored from an older copy. Bring the newest copy of "
    "manifest/ back; remove no data file before."
)
_ACCOUNTS = (
    "Rows were lost or counted twice. Keep the log (raise keep_age_s and keep_bytes) and the store, and report it. "
    "`penstock replay --dry-run --diff` compares every row of the log with the files."
)
_DEAD_LETTER = (
    "Restore it from a copy of the store; the record is also in the write buffer, for as long as that keeps it."
)
_ORPHAN = (
    "No query reads it, and no row is only there: its rows were persisted again, or are in the write buffer. "
    "`penstock gc --dry-run` says whether it can be removed now, `penstock gc` removes it."
)
_WAITING = "It is young: most likely a persist under way. Nothing to do."
_DISPLACED = (
    "It has the name of a data file that belongs in another folder: move it back if that one is missing, else remove "
    "it. `penstock gc` leaves it."
)
_GAP_ROWS = (
    "It was put before the log lost those offsets, and may be the only copy of rows that are counted as lost: read it, "
    "and send what is missing again. Then remove it by hand; `penstock gc` leaves it."
)
_FOREIGN = (
    "No sequencer of this cluster writes such names, and no query reads it; other readers of data/ may. Move it out of "
    "data/."
)

_MEANING: dict[Kind, tuple[Level, str]] = {
    Kind.MISSING: (Level.DAMAGE, _RESTORE),
    Kind.SHORTENED: (Level.DAMAGE, _RESTORE),
    Kind.LENGTHENED: (Level.DAMAGE, _RESTORE),
    Kind.CHANGED: (Level.DAMAGE, _RESTORE),
    Kind.UNREAD: (Level.DAMAGE, _UNREAD),
    Kind.CONTENT: (Level.DAMAGE, _CONTENT),
    Kind.MANIFEST: (Level.DAMAGE, _MANIFEST),
    Kind.RECORD: (Level.DAMAGE, _RECORD),
    Kind.CHECKPOINT: (Level.LEFT, _CHECKPOINT),
    Kind.LATER_EPOCH: (Level.DAMAGE, _LATER_EPOCH),
    Kind.ACCOUNTS: (Level.DAMAGE, _ACCOUNTS),
    Kind.DEAD_LETTER: (Level.DAMAGE, _DEAD_LETTER),
    Kind.ORPHAN: (Level.LEFT, _ORPHAN),
    Kind.WAITING: (Level.NOTE, _WAITING),
    Kind.DISPLACED: (Level.LEFT, _DISPLACED),
    Kind.GAP_ROWS: (Level.LEFT, _GAP_ROWS),
    Kind.FOREIGN: (Level.LEFT, _FOREIGN),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a Parquet file pages cannot be read. row_group: from 0."""

    row_group: int
    column: str

    def __str__(self) -> str:
        return f"row group {self.row_group}, column {self.column!r}"


@dataclass(frozen=True, slots=True)
class Finding:
    """what: half a sentence about `path`, or a whole one where path is None. file: as the manifest has it."""

    kind: Kind
    what: str
    path: str | None = None
    sequencer: SequencerId | None = None
    file: StoredFile | None = None
    places: tuple[Place, ...] = ()

    @property
    def level(self) -> Level:
        return self.kind.level

    def __str__(self) -> str:
        text = f"{self.path}: {self.what}" if self.path else self.what
        if self.places:
            text += f"; cannot be read: {'; '.join(map(str, self.places))}"
        if self.file:
            offsets = f"offsets {self.file.first_offset} to {self.file.last_offset}"
            text += f" ({counted(self.file.rows, 'row')}, {offsets} of sequencer {self.sequencer})"
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value,
            "level": self.level.name.lower(),
            "sequencer": self.sequencer,
            "path": self.path,
            "what": self.what,
            "rows": self.file.rows if self.file else None,
            "offsets": [self.file.first_offset, self.file.last_offset] if self.file else None,
            "places": [{"row_group": place.row_group, "column": place.column} for place in self.places],
            "advice": self.kind.advice,
        }
