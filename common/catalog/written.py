"""A data file's bytes, compared with those that the manifest says were written."""

from dataclasses import dataclass
from typing import Literal

import xxhash

from common.catalog.manifest.change import StoredFile
from common.store.objects import NotFound, ObjectStore

Damage = Literal["missing", "shortened", "lengthened", "changed"]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that is not as it was written. why: half a sentence about "it". data: the bytes that there are."""

    damage: Damage
    why: str
    data: bytes = b""


def read_written(file: StoredFile, store: ObjectStore) -> bytes | Damaged:
    """All bytes of `file` where they are those that were written. Raises Unavailable."""
    try:
        data = store.get(file.path)
    except NotFound:
        return Damaged("missing", "it is missing")
    if len(data) != file.size_bytes:
        damage: Damage = "shortened" if len(data) < file.size_bytes else "lengthened"
        return Damaged(damage, f"it has {len(data)} bytes, and {file.size_bytes} were written", data)
    found = xxhash.xxh3_64_intdigest(data)
    if found != file.checksum:
        why = f"the checksum of its bytes is {found:016x}, and {file.checksum:016x} was written (xxh3-64)"
        return Damaged("changed", why, data)
    return data
