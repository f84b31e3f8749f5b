"""Rows by key that do not fit memory: in files of a folder, in the order they were added."""

from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

import pyarrow as pa

from common.catalog.merge import concatenated
from common.values.schema import columns_of, union

K = TypeVar("K")

BYTES_MAX = 64 * 1024 * 1024
"""Of rows held in memory, of all keys."""

_LENGTH_BYTES = 8


class Spill(Generic[K]):
    """A key's file has segments: the length of an Arrow stream, 8 bytes little-endian, and the stream."""

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        """folder: made here, and the caller's to remove."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rows: dict[K, int] = {}
        self._numbers: dict[K, int] = {}
        self._waiting: dict[K, list[pa.Table]] = {}

    def __iter__(self) -> Iterator[K]:
        """The keys, in the order of their first rows."""
        return iter(self._rows)

    def rows(self, key: K) -> int:
        return self._rows.get(key, 0)

    def add(self, key: K, rows: pa.Table | pa.RecordBatch) -> None:
        if isinstance(rows, pa.RecordBatch):
            rows = pa.Table.from_batches([rows])
        self._rows[key] = self._rows.get(key, 0) + rows.num_rows
        self._waiting.setdefault(key, []).append(rows)
        self._bytes += rows.nbytes
        if self._bytes > self._bytes_max:
            self._write()

    def parts(self, key: K) -> Iterator[pa.Table]:
        """The rows of `key`, each part with the columns that it brought."""
        if key in self._numbers:
            with self._path(key).open("rb") as file:
                while length := file.read(_LENGTH_BYTES):
                    data = file.read(int.from_bytes(length, "little"))
                    yield pa.ipc.open_stream(data).read_all()
        yield from self._waiting.get(key, ())

    def drop(self, key: K) -> None:
        """Its rows are not needed any more."""
        self._waiting.pop(key, None)
        self._rows.pop(key, None)
        if key in self._numbers:
            self._path(key).unlink()
            del self._numbers[key]

    def _write(self) -> None:
        for key, waiting in self._waiting.items():
            rows = concatenated(waiting, union(columns_of(part.schema) for part in waiting))
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, rows.schema) as writer:
                writer.write_table(rows)
            data = sink.getvalue()
            self._numbers.setdefault(key, len(self._numbers))
            with self._path(key).open("ab") as file:
                file.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
                file.write(data)
        self._waiting.clear()
        self._bytes = 0

    def _path(self, key: K) -> Path:
        return self._folder / f"{self._numbers[key]:08}.arrows"
