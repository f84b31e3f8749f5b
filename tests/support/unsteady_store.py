"""A local object store that a test makes fail, hang or go away, while a process uses it.

The file named by KILL_STORE says how: `third`: every third call fails, every other time after it did its work; `hangs`:
no call comes back until the file says something else; `away`: every call fails. Without the file nothing is wrong.
Looks at the folder itself, of which there are several for each call of a process, hang and fail with the others, but no
third one of them fails.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from common.store import opening
from common.store.disk import Disk, FileStat
from common.store.local import LocalStore
from common.store.objects import StoredObject
from common.values.errors import Unavailable

T = TypeVar("T")
LOOK_S = 0.05


def make_store_unsteady() -> None:
    """Every local store that this process opens from now on."""
    opening.LocalStore = UnsteadyStore  # type: ignore[misc]


class UnsteadyStore(LocalStore):
    def __init__(self, disk: Disk, folder: str) -> None:
        super().__init__(disk, folder)
        self._calls = itertools.count(1)

    def put(self, path: str, data: bytes) -> None:
        self._meet(path, lambda: super(UnsteadyStore, self).put(path, data))

    def put_if_absent(self, path: str, data: bytes) -> None:
        self._meet(path, lambda: super(UnsteadyStore, self).put_if_absent(path, data))

    def get(self, path: str) -> bytes:
        return self._meet(path, lambda: super(UnsteadyStore, self).get(path))

    def stat(self, path: str) -> FileStat | None:
        self._hang_or_fail(path)
        return super().stat(path)

    def make_durable(self, path: str) -> None:
        self._meet(path, lambda: super(UnsteadyStore, self).make_durable(path))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return iter(self._meet(prefix, lambda: [*super(UnsteadyStore, self).list(prefix)]))

    def delete(self, path: str) -> None:
        self._meet(path, lambda: super(UnsteadyStore, self).delete(path))

    def _meet(self, path: str, call: Callable[[], T]) -> T:
        wrong = self._hang_or_fail(path)
        number = next(self._calls)
        if wrong == "third" and number % 6 == 0:
            raise self._injected(path)
        answer = call()
        if wrong == "third" and number % 6 == 3:
            raise self._injected(f"{path}, after it was done")
        return answer

    def _hang_or_fail(self, path: str) -> str:
        while (wrong := _what_is_wrong()) == "hangs":
            time.sleep(LOOK_S)
        if wrong == "away":
            raise self._injected(path)
        return wrong

    def _injected(self, what: str) -> Unavailable:
        return Unavailable(f"object store {self.url}: injected: {what}", written="unknown")


def _what_is_wrong() -> str:
    try:
        return Path(os.environ.get("KILL_STORE", "/nonexistent")).read_text().strip()
    except FileNotFoundError:
        return ""
