"""buffer.json: how many sequencers the buffer has, and which one it is.

{format, sequencers, buffer_id}. A log's id follows from buffer id and sequencer: a buffer deleted and made again has
other identities. It is the first file of a buffer to be made and the first to be deleted: whoever misses another one
looks here whether the buffer still stands.
"""

import json
import uuid
from dataclasses import dataclass

from common.disk import Disk
from common.errors import DataCorrupt, Forked, Misconfigured
from writebuffer.errors import BufferNotFound
from writebuffer.file.format import Place

NAME = "buffer.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BufferJson:
    """What it says."""

    sequencers: int
    buffer_id: uuid.UUID

    def encode(self) -> bytes:
        values = {"format": _FORMAT, "sequencers": self.sequencers, "buffer_id": str(self.buffer_id)}
        return json.dumps(values, indent=2).encode() + b"\n"

    def log_id(self, sequencer: int) -> bytes:
        return uuid.uuid5(self.buffer_id, str(sequencer)).bytes


def load_buffer_json(disk: Disk, folder: str) -> BufferJson:
    """Raises BufferNotFound, DataCorrupt, Misconfigured, OSError."""
    path = f"{folder}/{NAME}"
    try:
        file = disk.open(path)
    except FileNotFoundError:
        raise BufferNotFound(
            f"file://{folder}: there is no write buffer (no {NAME}); `penstock up` or a router makes it, or "
            "`connect(url).create(sequencers)`",
            url=f"file://{folder}",
        ) from None
    try:
        return _parse(file.read_at(0, file.size()), path)
    finally:
        file.close()


def check_stands(place: Place) -> None:
    """Raise Forked where the log's buffer was deleted, or deleted and made again. DataCorrupt and OSError, too."""
    folder = place.folder.rpartition("/")[0]
    try:
        found = load_buffer_json(place.disk, folder).log_id(place.sequencer)
    except BufferNotFound:
        found = None
    if found != place.log_id:
        raise Forked(
            f"{place}: the write buffer was deleted{' and made again' if found else ''} since it was opened; open it "
            "anew, and start its readers from the first offset",
            sequencer=place.sequencer,
            expected=place.log_id.hex(),
            actual=found.hex() if found else None,
        )


def _parse(data: bytes, where: str) -> BufferJson:
    try:
        values = json.loads(data)
        format_found, buffer = values["format"], BufferJson(int(values["sequencers"]), uuid.UUID(values["buffer_id"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataCorrupt(f"{where}: not a {NAME} of penstock ({error!r}); restore it from a copy") from None
    if format_found != _FORMAT:
        raise Misconfigured(f"{where}: format {format_found}, this build reads {_FORMAT}; use the release that made it")
    return buffer
