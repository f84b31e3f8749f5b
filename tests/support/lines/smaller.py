"""A failing input made small: bodies, lines and bytes are left out for as long as it still fails (delta debugging)."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from router.parsing.messages import Body

TRIES_MAX = 3_000

Part = TypeVar("Part")


def smaller(bodies: Sequence[Body], fails: Callable[[Sequence[Body]], bool]) -> Sequence[Body]:
    """The least of `bodies` that was found to fail within TRIES_MAX tries."""
    tries = iter(range(TRIES_MAX))

    def tried(candidate: Sequence[Body]) -> bool:
        return next(tries, None) is not None and fails(candidate)

    bodies = _reduced(list(bodies), tried)
    for pieces in (_lines, _bytes):
        for at, body in enumerate(bodies):
            bodies = _with_data_reduced(bodies, at, pieces(body.data), tried)
    return bodies


def _with_data_reduced(
    bodies: Sequence[Body], at: int, pieces: list[bytes], fails: Callable[[Sequence[Body]], bool]
) -> Sequence[Body]:
    def with_data(kept: Sequence[bytes]) -> list[Body]:
        return [*bodies[:at], dataclasses.replace(bodies[at], data=b"".join(kept)), *bodies[at + 1 :]]

    return with_data(_reduced(pieces, lambda kept: fails(with_data(kept))))


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _reduced(parts: list[Part], fails: Callable[[list[Part]], bool]) -> list[Part]:
    """`parts` without what can be left out, in pieces of half of it, then a quarter, down to one."""
    size = max(len(parts) // 2, 1)
    while parts:
        for less in _without_pieces(parts, size):
            if fails(less):
                parts = less
                break
        else:
            if size == 1:
                break
            size = max(size // 2, 1)
    return parts


def _without_pieces(parts: list[Part], size: int) -> Iterator[list[Part]]:
    for start in reversed(range(0, len(parts), size)):
        yield parts[:start] + parts[start + size :]
