"""The fields of rows as one matrix of words: joined, cut and counted at once, where columns would be one by one.

An Arrow array costs some microseconds to make, to count and to join, and a batch of few rows has twenty of them; so
rows are columns of Arrow only once they are read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from common.values.schema import ARROW_TYPES, Columns, ColumnType

Words = npt.NDArray[np.uint64]
Present = npt.NDArray[np.bool_]
WordFields = tuple[tuple[str, ColumnType], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """fields: of the words, by name. words: uint64[fields, rows], the bits of a number, 0 or 1, 0 where absent.

    present: bool[fields, rows], None where all are. texts: of string fields by name, null where absent. Nothing is
    changed once it is here.
    """

    fields: WordFields
    words: Words
    present: Present | None
    texts: Mapping[str, pa.StringArray]

    @property
    def bytes(self) -> int:
        """Of the arrays."""
        texts: int = sum([array.nbytes for array in self.texts.values()])
        return 8 * self.words.size + (0 if self.present is None else self.present.size) + texts

    def take(self, rows: npt.NDArray[np.intp]) -> "Cells":
        """Those at these positions, in memory of their own."""
        present = None if self.present is None else self.present.take(rows, axis=1)
        texts = {name: array.take(pa.array(rows)) for name, array in self.texts.items()}
        return Cells(self.fields, self.words.take(rows, axis=1), present, texts)

    def slice(self, start: int, end: int) -> "Cells":
        """Rows start..end - 1, in the same memory."""
        present = None if self.present is None else self.present[:, start:end]
        texts = {name: array.slice(start, end - start) for name, array in self.texts.items()}
        return Cells(self.fields, self.words[:, start:end], present, texts)

    def only(self, columns: Columns) -> "Cells":
        """Without the fields that are not among `columns`."""
        kept = [at for at, (name, _) in enumerate(self.fields) if name in columns]
        texts = {name: array for name, array in self.texts.items() if name in columns}
        present = None if self.present is None else self.present[kept]
        return Cells(tuple([self.fields[at] for at in kept]), self.words[kept], present, texts)

    def arrays(self) -> dict[str, pa.Array]:
        """Every field as Arrow has it, by name. Numbers are not copied."""
        found: dict[str, pa.Array] = dict(self.texts)
        for at, (name, column) in enumerate(self.fields):
            words = np.ascontiguousarray(self.words[at])  # as it is nearly always; numpy chooses what joining gives
            nulls, bits = 0, None
            if self.present is not None:
                nulls = len(words) - int(np.count_nonzero(self.present[at]))
                bits = _bits(self.present[at]) if nulls else None
            data = _bits(words != 0) if column is ColumnType.BOOLEAN else pa.py_buffer(words)
            found[name] = pa.Array.from_buffers(ARROW_TYPES[column], len(words), [bits, data], nulls)
        return found


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def cells_of(columns: Mapping[str, pa.Array], rows: int) -> Cells:
    """Of fields as Arrow has them, in memory of their own."""
    types = {ARROW_TYPES[column]: column for column in ColumnType}
    kinds = {name: types[array.type] for name, array in columns.items()}
    everywhere = pa.array(np.arange(rows))
    texts = {name: columns[name].take(everywhere) for name, kind in kinds.items() if kind is ColumnType.STRING}
    fields = tuple(sorted([(name, kind) for name, kind in kinds.items() if name not in texts], key=_name))
    words = np.empty((len(fields), rows), np.uint64)
    for at, (name, kind) in enumerate(fields):
        words[at] = _words(columns[name], kind)
    present = None
    if any(columns[name].null_count for name, _ in fields):
        present = np.array([columns[name].is_valid().to_numpy(zero_copy_only=False) for name, _ in fields], np.bool_)
    return Cells(fields, words, present, texts)


def _words(array: pa.Array, kind: ColumnType) -> Words:
    if kind is ColumnType.BOOLEAN:
        values = array.fill_null(False) if array.null_count else array
        return np.asarray(values.to_numpy(zero_copy_only=False), np.uint64)
    values = array.fill_null(0) if array.null_count else array
    words: Words = values.to_numpy().view(np.uint64)
    return words


def _name(field: tuple[str, ColumnType]) -> str:
    return field[0]


def joined(parts: Sequence[Cells]) -> Cells:
    """The rows of several, one after another, under 2 GiB of each text. Fields that one lacks are absent there."""
    fields = parts[0].fields
    if all(part.fields is fields or part.fields == fields for part in parts):
        words = np.concatenate([part.words for part in parts], axis=1)
        return Cells(fields, words, _joined_present(parts), _joined_texts(parts))
    fields = tuple(sorted({field for part in parts for field in part.fields}, key=_name))
    return joined([_with_fields(part, fields) for part in parts])


def _with_fields(part: Cells, fields: WordFields) -> Cells:
    places = {field: at for at, field in enumerate(fields)}
    kept = [places[field] for field in part.fields]
    words = np.zeros((len(fields), part.words.shape[1]), np.uint64)
    words[kept] = part.words
    present = np.zeros(words.shape, np.bool_)
    present[kept] = True if part.present is None else part.present
    return Cells(fields, words, present, part.texts)


def _joined_present(parts: Sequence[Cells]) -> Present | None:
    if all(part.present is None for part in parts):
        return None
    each = [np.ones(part.words.shape, np.bool_) if part.present is None else part.present for part in parts]
    return np.concatenate(each, axis=1)


def _joined_texts(parts: Sequence[Cells]) -> dict[str, pa.StringArray]:
    names = sorted({name for part in parts for name in part.texts})
    return {name: pa.concat_arrays([_texts(part, name) for part in parts]) for name in names}


def _texts(part: Cells, name: str) -> pa.StringArray:
    found = part.texts.get(name)
    return pa.nulls(part.words.shape[1], pa.utf8()) if found is None else found
