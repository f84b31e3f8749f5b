"""Bytes changed without regard to what they mean: flips, deletions, insertions, repeats and splices."""

import random
from collections.abc import Callable, Sequence

_INSERTED = (
    b",",
    b" ",
    b"=",
    b'"',
    b"\\",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"#",
    b"\t",
    b"1",
    b"i",
    b'="',
    b'",',
    b"\xef\xbb\xbf",
)


def mutated(rng: random.Random, data: bytes, changes: int) -> bytes:
    """`data` with so many changes."""
    for _ in range(changes):
        data = rng.choice(_CHANGES)(rng, data, rng.randint(0, len(data)))
    return data


def _flip(rng: random.Random, data: bytes, at: int) -> bytes:
    if at == len(data):
        return data
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _delete(rng: random.Random, data: bytes, at: int) -> bytes:
    return data[:at] + data[at + rng.choice((1, 1, 2, 10)) :]


def _insert(rng: random.Random, data: bytes, at: int) -> bytes:
    return data[:at] + rng.choice(_INSERTED) + data[at:]


def _repeat(rng: random.Random, data: bytes, at: int) -> bytes:
    return data[: at + rng.choice((1, 5, 20))] + data[at:]


def _splice(rng: random.Random, data: bytes, at: int) -> bytes:
    """The start up to `at`, then what follows another place."""
    return data[:at] + data[rng.randint(0, len(data)) :][: len(data)]


_CHANGES: Sequence[Callable[[random.Random, bytes, int], bytes]] = (_flip, _delete, _insert, _insert, _repeat, _splice)
