"""buffer.json: how many sequencers the buffer has, and which one it is.

{format: 1, sequencers, buffer_id}. A log's id follows from buffer id and sequencer: a buffer deleted and made again has
other identities. One whose buffer.json was lost is given those that the store's manifests name (restart.py):
{format: 2, sequencers, buffer_id, logs}. It is the first file of a buffer to be made and the first to be deleted:
whoever misses another one looks here whether the buffer still exists.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from common.store.disk import Disk
from common.values.errors import DataCorrupt, Forked, Misconfigured
from writebuffer.checks import check_stored_count
from writebuffer.errors import HOW_TO_MAKE, BufferNotFound
from writebuffer.file.format import Place

NAME = "buffer.json"
_FORMATS = (1, 2)
_LOG_ID_BYTES = 16
_BYTES_MAX = 4096
"""Read at most; it has about 100. A file that is longer is none of penstock."""


@dataclass(frozen=True, slots=True)
class BufferJson:
    """What it says. logs: the id of each log, 16 bytes, where they do not follow from the buffer's."""

    sequencers: int
    buffer_id: uuid.UUID
    logs: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        values: dict[str, Any] = {"sequencers": self.sequencers, "buffer_id": str(self.buffer_id)}
        if self.logs:
            values = {"format": 2, **values, "logs": [log.hex() for log in self.logs]}
        else:
            values = {"format": 1, **values}
        return json.dumps(values, indent=2).encode() + b"\n"

    def log_id(self, sequencer: int) -> bytes:
        if self.logs:
            return self.logs[sequencer]
        return uuid.uuid5(self.buffer_id, str(sequencer)).bytes


def load_buffer_json(disk: Disk, folder: str) -> BufferJson:
    """Raises BufferNotFound, DataCorrupt, Misconfigured, OSError."""
    path = f"{folder}/{NAME}"
    try:
        file = disk.open(path)
    except FileNotFoundError:
        raise BufferNotFound(
            f"file://{folder}: there is no write buffer (no {NAME}); {HOW_TO_MAKE}",
            url=f"file://{folder}",
        ) from None
    try:
        return _parse(file.read_at(0, _BYTES_MAX), path)
    finally:
        file.close()


def check_same_buffer(place: Place) -> None:
    """Raise Forked where the log's buffer was deleted, or deleted and made again. DataCorrupt and OSError, too."""
    folder = place.folder.rpartition("/")[0]
    try:
        found = load_buffer_json(place.disk, folder).log_id(place.sequencer)
    except BufferNotFound:
        found = None
    if found != place.log_id:
        raise Forked(
            f"{place}: the write buffer was deleted{' and made again' if found else ''} since it was opened; open it "
            "again, and start its readers from the first offset",
            sequencer=place.sequencer,
            expected=place.log_id.hex(),
            actual=found.hex() if found else None,
        )


def _parse(data: bytes, where: str) -> BufferJson:
    try:
        values = json.loads(data)
        format_found, buffer = values["format"], _buffer(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataCorrupt(f"{where}: not a {NAME} of penstock ({error!r}); restore it from a copy") from None
    if format_found not in _FORMATS:
        raise Misconfigured(
            f"{where}: format {format_found}, this build reads {_FORMATS[0]} and {_FORMATS[1]}; use the release that "
            "made it"
        )
    return buffer


def _buffer(values: Any) -> BufferJson:
    sequencers = check_stored_count(values["sequencers"])
    logs: tuple[bytes, ...] = ()
    if values["format"] == 2:
        logs = tuple(bytes.fromhex(log) for log in values["logs"])
        if len(logs) != sequencers or not all(len(log) == _LOG_ID_BYTES for log in logs):
            raise ValueError(f"logs: {values['logs']}")
    return BufferJson(sequencers, uuid.UUID(values["buffer_id"]), logs)
