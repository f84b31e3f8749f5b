"""Where everything is in the object store: the one place that spells its layout.

    cluster.json
    data/<namespace>/<table>/utc_day=YYYY-MM-DD/<sequencer>-<epoch>-<first>-<last>-<job>-<part>.parquet
    manifest/<sequencer:03>/<number:020>.json
    manifest/<sequencer:03>/checkpoints/<number:020>.json
    manifest/<sequencer:03>/parts/<part:08>-<xxh3-128>.json
    manifest/<sequencer:03>/hint.json
    schema/<namespace>/<table>/<version:010>.json
    dead-letter/<sequencer:03>/<offset:020>.json|bin
    cursors/<name>/<sequencer:03>.json

Names that clients choose become one path component each. Kept as they are: a-z, 0-9, `-`, and `_` and `.` except in
front. Every other byte of the UTF-8 becomes `!` and two hex digits, so that no name leaves its folder, two names never
meet on a file system that ignores case, and no folder starts with `_` or `.` (pyarrow and pandas skip such folders
without a word). `!` is in the set that S3 calls safe and that obstore leaves alone. A name too long for a file system
keeps its start and ends in `!-` and its xxh3-128.
"""

import re
from typing import NamedTuple

import xxhash

from common.values.ids import Epoch, ManifestNumber, Offset, SequencerId

CLUSTER = "cluster.json"
DATA = "data"
CURSORS = "cursors"
SCHEMA = "schema"

COMPONENT_BYTES_MAX = 200
"""File systems allow 255 bytes; this leaves room for what is put around the name."""

_OTHER = re.compile(rb"[^a-z0-9_.\-]|^[_.]")
_MANIFEST_RECORD = re.compile(r"(\d{20})\.json")
_DEAD_LETTER = re.compile(r"(\d{20})\.(bin|json)")
_DATA_FILE = re.compile(r"(\d{3,})-(\d{8,})-(\d{20})-(\d{20})-\d{8,}-\d{3,}\.parquet")


def path_component(name: str) -> str:
    """`name` as one path component. Distinct names give distinct components."""
    raw = name.encode("utf-8", "surrogatepass")
    escaped = _OTHER.sub(lambda match: b"!%02x" % match[0][0], raw).decode("ascii")
    if not escaped:
        return "!"
    if len(escaped) <= COMPONENT_BYTES_MAX:
        return escaped
    return f"{escaped[: COMPONENT_BYTES_MAX - 34]}!-{xxhash.xxh3_128_hexdigest(raw)}"


def partition_folder(namespace: str, table: str, day_name: str) -> str:
    """day_name: YYYY-MM-DD."""
    return f"{DATA}/{path_component(namespace)}/{path_component(table)}/utc_day={day_name}"


def data_file(
    folder: str, sequencer: SequencerId, epoch: Epoch, first: Offset, last: Offset, job: int, part: int
) -> str:
    """Part `part` of what job `job` of that epoch persisted; folder: the partition's."""
    return f"{folder}/{sequencer:03}-{epoch:08}-{first:020}-{last:020}-{job:08}-{part:03}.parquet"


class DataFileName(NamedTuple):
    """What the name of a data file says. first_offset: the least of its rows; last_offset: as in the manifest."""

    sequencer: SequencerId
    epoch: Epoch
    first_offset: Offset
    last_offset: Offset


def data_file_name(path: str) -> DataFileName | None:
    """Of the file at `path`; None for what is no data file of penstock."""
    match = _DATA_FILE.fullmatch(path.rpartition("/")[2])
    return DataFileName(*map(int, match.groups())) if match else None  # type: ignore[arg-type]


def manifest_folder(sequencer: SequencerId) -> str:
    return f"manifest/{sequencer:03}"


def manifest_record(sequencer: SequencerId, number: ManifestNumber) -> str:
    return f"{manifest_folder(sequencer)}/{number:020}.json"


def manifest_record_number(path: str, sequencer: SequencerId) -> ManifestNumber | None:
    """The inverse; None for another object of the manifest's folder."""
    match = _MANIFEST_RECORD.fullmatch(path.removeprefix(f"{manifest_folder(sequencer)}/"))
    return ManifestNumber(int(match[1])) if match else None


def manifest_checkpoint(sequencer: SequencerId, number: ManifestNumber) -> str:
    """The state as of that record, without its files."""
    return f"manifest/{sequencer:03}/checkpoints/{number:020}.json"


def manifest_part(sequencer: SequencerId, part: int, digest: str) -> str:
    """Files of a checkpoint. digest: xxh3-128 of the object's bytes, in hex."""
    return f"manifest/{sequencer:03}/parts/{part:08}-{digest}.json"


def manifest_hint(sequencer: SequencerId) -> str:
    """Where to begin to look for the newest record."""
    return f"manifest/{sequencer:03}/hint.json"


def schema_folder(namespace: str) -> str:
    """Has one folder for each table of the namespace."""
    return f"{SCHEMA}/{path_component(namespace)}"


def schema_version(namespace: str, table: str, version: int) -> str:
    return f"{schema_folder(namespace)}/{path_component(table)}/{version:010}.json"


def dead_letter(sequencer: SequencerId, offset: Offset, kind: str) -> str:
    """kind: `bin` for the record's bytes, `json` for the note about them."""
    return f"{dead_letters(sequencer)}/{offset:020}.{kind}"


def dead_letters(sequencer: SequencerId) -> str:
    """The folder of a sequencer's dead letters."""
    return f"dead-letter/{sequencer:03}"


def dead_letter_of(path: str) -> tuple[Offset, str] | None:
    """Offset and kind of a dead letter's object; None for what is none."""
    match = _DEAD_LETTER.fullmatch(path.rpartition("/")[2])
    return (Offset(int(match[1])), match[2]) if match else None


def is_cursor_of(path: str, sequencer: SequencerId) -> bool:
    """Whether `path`, listed below CURSORS, is a registered cursor of that sequencer."""
    return path.endswith(f"/{sequencer:03}.json")
