"""The keys of a buffer, and its ids. docs/formats/redis.md shows them as a person with redis-cli sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.values.ids import Offset, SequencerId


def buffer_key(stream: str) -> bytes:
    """A JSON string: {"format": 1, "sequencers": N}."""
    return stream.encode()


@dataclass(frozen=True, slots=True)
class Keys:
    """Of one sequencer. The part in braces makes a cluster keep them in one slot, where one script can use all."""

    records: bytes
    """RedisStream: one entry a record, its bytes in field `r`."""
    state: bytes
    """Hash: identity, next, bytes (ever appended), horizon and young (see append in scripts.py)."""
    sent: bytes
    """Sorted set by name alone: runs of producer sequences that were appended lately, with their offsets."""
    sent_before: bytes
    """The same of the time before."""
    batches: bytes
    """RedisStream: one entry a batch: bytes appended before it and its greatest append time."""

    @classmethod
    def of(cls, stream: str, sequencer: SequencerId) -> "Keys":
        tag = f"{{{stream}:{sequencer}}}"
        return cls(*(f"{tag}:{name}".encode() for name in ("records", "state", "sent", "sent-before", "batches")))

    def all(self) -> tuple[bytes, ...]:
        return self.records, self.state, self.sent, self.sent_before, self.batches

    def named(self, names: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(getattr(self, name) for name in names)


def entry_id(offset: int) -> bytes:
    """Ids start at 0-1, since Redis has no 0-0."""
    return b"0-%d" % (offset + 1)


def offset_of(entry: bytes) -> Offset:
    return Offset(int(entry.removeprefix(b"0-")) - 1)
