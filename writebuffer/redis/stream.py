"""One sequencer's stream as it was when a writer or reader was opened, and the questions both ask about it."""

import struct
from dataclasses import dataclass
from typing import Any

from common.values.errors import DataCorrupt, Forked
from common.values.ids import Offset, SequencerId
from writebuffer.contract import Offsets
from writebuffer.errors import BufferNotFound
from writebuffer.record import Record
from writebuffer.redis.commands import unpack_time, wait_command
from writebuffer.redis.keys import Keys, entry_id, offset_of
from writebuffer.redis.link import Link, NotServing, Refused
from writebuffer.redis.scripts import CONFIRM, LOOK, MAKE, Script


@dataclass(frozen=True, slots=True)
class RedisStream:
    sequencer: SequencerId
    keys: Keys
    identity: bytes
    url: str

    def __str__(self) -> str:
        return f"{self.url}: sequencer {self.sequencer}"

    def forked(self, difference: str) -> Forked:
        return Forked(
            f"{self}: {difference}: the server was restored or failed over without its newest records, or the buffer "
            "was deleted and made again. Restore what was lost; or start with another stream= and replay",
            sequencer=self.sequencer,
        )

    def another(self, found: bytes | None) -> Forked:
        """What is there has the identity `found`, or none."""
        there = f"it has {found.decode(errors='replace')} now" if found else "it is not there any more"
        return self.forked(f"the stream with identity {self.identity.decode()} was followed, {there}")

    def corrupt(self, offset: Offset, what: str) -> DataCorrupt:
        return DataCorrupt(f"{self}: offset {offset}: {what}", sequencer=self.sequencer, offset=offset)


@dataclass(frozen=True, slots=True)
class RedisStreamState:
    """What was there at one moment."""

    identity: bytes
    offsets: Offsets
    data_bytes: int


def look(link: Link, stream: RedisStream) -> RedisStreamState:
    """Raises Forked when it is not `stream` any more, and what Link.call does."""
    found = _as_state(link.run(LOOK, stream.keys))
    if found is None or found.identity != stream.identity:
        raise stream.another(found.identity if found else None)
    return found


def make_stream(link: Link, sequencer: SequencerId, keys: Keys, url: str, identity: bytes) -> None:
    """Fine when it exists. Raises DataCorrupt where only its records do: their offsets would be given out again."""
    try:
        link.run(MAKE, keys, identity)
    except Refused:
        raise _orphaned(sequencer, keys, url) from None


def open_stream(link: Link, sequencer: SequencerId, keys: Keys, url: str) -> tuple[RedisStream, RedisStreamState]:
    """Raises BufferNotFound where its creation was never finished, DataCorrupt where it was deleted in part."""
    answer = link.run(LOOK, keys)
    found = _as_state(answer)
    if found:
        return RedisStream(sequencer, keys, found.identity, url), found
    if answer:
        raise _orphaned(sequencer, keys, url)
    raise BufferNotFound(
        f"{url}: sequencer {sequencer} has no state ({keys.state.decode()}): its creation was interrupted, or it was "
        "deleted; a new cluster's `penstock up` or router makes it, empty, or `connect(url).create(sequencers)`",
        url=url,
    )


def _as_state(answer: Any) -> RedisStreamState | None:
    """Of LOOK's answer; None where there is no state."""
    if not isinstance(answer, list):
        return None
    identity, first_offset, next_offset, data_bytes = answer
    return RedisStreamState(identity, Offsets(Offset(first_offset), Offset(next_offset)), data_bytes)


def _orphaned(sequencer: SequencerId, keys: Keys, url: str) -> DataCorrupt:
    rest = " ".join(key.decode() for key in keys.all() if key != keys.state)
    return DataCorrupt(
        f"{url}: sequencer {sequencer} has lost its state ({keys.state.decode()}), but its records are there "
        f"({keys.records.decode()}); somebody removed it. Restore it from a copy; or give the records up: "
        f"UNLINK {rest}, then start again, with a new store",
        sequencer=sequencer,
    )


def run(link: Link, stream: RedisStream, script: Script, *arguments: bytes) -> Any:
    """Call a script whose first argument is the identity. Raises Forked, and what Link.call does."""
    try:
        return link.run(script, stream.keys, stream.identity, *arguments)
    except Refused as error:
        known = f"the stream with identity {stream.identity.decode()} was followed"
        raise stream.forked(f"{known}, the server says {error}") from None


def read_one(link: Link, stream: RedisStream, offset: Offset) -> Record | None:
    """The record at `offset`; None where there is none (any more)."""
    found = link.call(b"XRANGE", stream.keys.records, entry_id(offset), entry_id(offset))
    return decoded(stream, offset, found[0][1]) if found else None


def decoded(stream: RedisStream, offset: Offset, fields: list[bytes]) -> Record:
    """Raises DataCorrupt."""
    if len(fields) != 2 or fields[0] != b"r":
        raise stream.corrupt(offset, "the entry is none that penstock wrote")
    try:
        return Record.from_bytes(fields[1])
    except DataCorrupt as error:
        raise stream.corrupt(offset, error.message) from None


def batch_of(stream: RedisStream, entry: bytes, fields: list[bytes]) -> tuple[Offset, int]:
    """First offset and greatest append time of one entry in the list of batches. Raises DataCorrupt."""
    try:
        first_offset = offset_of(entry)
        bytes_name, _, time_name, packed = fields
        if (bytes_name, time_name) != (b"b", b"t"):
            raise ValueError("other names")
        return first_offset, unpack_time(packed)
    except (ValueError, struct.error):
        raise DataCorrupt(
            f"{stream}: key {stream.keys.batches.decode()}: entry {entry.decode(errors='replace')} is none that "
            "penstock wrote, so records cannot be found by their time; find out who wrote it, then remove it with XDEL",
            sequencer=stream.sequencer,
        ) from None


def confirm_replicated(link: Link, stream: RedisStream, replicas: int, timeout_s: float) -> None:
    """Return once `replicas` replicas have all that was there before the call. Raises Unavailable."""
    run(link, stream, CONFIRM)
    link.send([wait_command(replicas, timeout_s)])
    reached = link.receive(2 * timeout_s + 1)
    if reached < replicas:
        raise NotServing(f"{stream}: {reached} of {replicas} replicas have the newest records; poll again")
