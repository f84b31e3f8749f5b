"""Records that may have killed the process that was about to apply them: remembered over its death.

A small file in the data folder says which offsets are about to be decoded and applied. A process that finds them there
at its start knows that the one before died over them. After DEATHS_MAX deaths over the same offsets, each of these
records is tried in a process of its own first (trial.py); one that ends it is condemned: it becomes a dead letter, and
is never read here again.

The file is for a process that dies, not for a power cut: it is not synced, and may be lost without harm.
"""

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from common.values.ids import Offset

DEATHS_MAX = 3


class Suspect(NamedTuple):
    """Offsets from `first` up to and without `end`, and how many processes died over them one after another."""

    first: Offset
    end: Offset
    deaths: int


class Suspects:
    """Safe to use from any thread. condemned: reasons, by offset."""

    def __init__(self, path: Path) -> None:
        """Reads what the process before left, and counts its death. A file that cannot be read counts as none."""
        self.condemned: dict[Offset, str] = {}
        self._path = path
        self._lock = threading.Lock()
        self._suspect: Suspect | None = None
        self._under_way: tuple[int, int] | None = None
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            self._load(json.loads(path.read_bytes()))

    @property
    def due(self) -> Suspect | None:
        """What is to be tried before it is applied."""
        return self._suspect if self._suspect and self._suspect.deaths >= DEATHS_MAX else None

    def begin(self, first: Offset, end: Offset) -> None:
        """Records from `first` on, below `end`, are about to be decoded and applied, after those begun before."""
        with self._lock:
            self._under_way = (self._under_way[0] if self._under_way else first, end)
            if self._suspect and first >= self._suspect.end:
                self._suspect = None
            self._store()

    def applied(self, applied_offset: Offset) -> None:
        """Everything below it is."""
        with self._lock:
            if self._under_way:
                first, end = self._under_way
                self._under_way = (max(first, applied_offset), end) if applied_offset < end else None
                self._store()

    def end(self) -> None:
        """This process ends in order: what is under way is not why."""
        with self._lock:
            self._under_way = None
            self._store()

    def tried(self, condemned: Mapping[Offset, str]) -> None:
        """The records of `due` were tried; these end a process."""
        with self._lock:
            self.condemned.update(condemned)
            self._suspect = None
            self._store()

    def _load(self, values: Mapping[str, Any]) -> None:
        self.condemned = {Offset(int(offset)): str(reason) for offset, reason in values["condemned"].items()}
        before = Suspect(*map(int, values["suspect"])) if values["suspect"] else None  # type: ignore[arg-type]
        if not values["under_way"]:
            self._suspect = before
            return
        first, end = (Offset(offset) for offset in values["under_way"])
        if before and before.first < end and first < before.end:
            self._suspect = Suspect(max(first, before.first), min(end, before.end), before.deaths + 1)
        else:
            self._suspect = Suspect(first, end, 1)

    def _store(self) -> None:
        values = {
            "under_way": self._under_way,
            "suspect": self._suspect,
            "condemned": {str(offset): reason for offset, reason in self.condemned.items()},
        }
        with suppress(OSError):  # a full disk: then deaths are not counted, and nothing else is wrong
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_bytes(json.dumps(values).encode())
            temporary.replace(self._path)
