"""The fields of lines that repeat what an earlier line had: the same keys in the same order, and values of their types.

What a key is called and where its value goes is known from the form; only the values are looked at. What does not fit
in any way is left to the strict parser of one line (scalar.py).
"""

import struct
from collections.abc import Callable, Mapping, Sequence

from common.values.schema import RESERVED_COLUMNS, Columns, ColumnType
from router.lineprotocol.point import LineError
from router.lineprotocol.scalar import BOOLEANS, STRING, unescaped

SortedFields = tuple[tuple[str, ColumnType], ...]
"""Name and type of each field, by name."""

_TEXT = b'"'
"""In the place of a string."""

_NOT_DELIMITERS = bytes(set(range(256)) - set(b",="))
_OF_VALUES = b"0123456789.-eEiutTrRuUfFaAlLsS" + _TEXT
"""Of other bytes Python makes numbers that are none of line protocol: `1_0`, `+1`, `nan`, `inf`, blanks around one."""

_INFINITIES = struct.pack("<d", float("inf")), struct.pack("<d", float("-inf"))

_CODES: Mapping[ColumnType, str] = {ColumnType.FLOAT: "d", ColumnType.INTEGER: "q"}
"""Others are a u64 each."""


def row_struct(fields: SortedFields) -> struct.Struct:
    """How the values of a row are packed, that of a string being its length in bytes."""
    return struct.Struct("<" + "".join(_CODES.get(column, "Q") for _, column in fields))


def without_texts(raw: bytes) -> tuple[bytes, Sequence[bytes]]:
    """What follows a line's series, with a quote in the place of each string; and the strings, without escapes.

    Raises LineError where a backslash is left: a key has it.
    """
    texts: Sequence[bytes] = ()
    if _TEXT in raw:
        parts = STRING.split(raw)
        raw, texts = _TEXT.join(parts[::2]), [unescaped(text) for text in parts[1::2]]
    if b"\\" in raw:
        raise LineError(_UNFIT)
    return raw, texts


class Form:
    """The keys of a line's fields, in order. fields: by name."""

    def __init__(self, names: Sequence[str], types: Sequence[ColumnType]) -> None:
        """names, types: in the order of the line, each name once."""
        in_order = sorted(names)
        self._order = None if in_order == names else list(map(names.index, in_order))
        of_name = dict(zip(names, types, strict=True))
        self.fields: SortedFields = tuple((name, of_name[name]) for name in in_order)
        self._delimiters = b",".join([b"="] * len(names))
        self._readers = [_READERS[column] for _, column in self.fields]
        self._pack = row_struct(self.fields).pack
        self._text_places: Sequence[int] = ()
        if ColumnType.STRING in types:
            texts = [name for name, column in of_name.items() if column is ColumnType.STRING]
            self._text_places = [in_order.index(name) for name in sorted(texts)]
            self._text_order = [texts.index(name) for name in sorted(texts)]

    def read(self, section: bytes, values: Sequence[bytes], texts: Sequence[bytes]) -> tuple[bytes, bytes]:
        """The row's values as `row_struct` packs them, and its strings, joined. Raises LineError for what does not fit.

        section: keys and values. values, texts: of it, as without_texts gives them.
        """
        if section.translate(None, _NOT_DELIMITERS) != self._delimiters or b"".join(values).translate(None, _OF_VALUES):
            raise LineError(_UNFIT)
        if self._order:
            values = [values[place] for place in self._order]
        try:
            numbers = [read(value) for read, value in zip(self._readers, values, strict=True)]
            strings = self._strings(numbers, texts) if texts or self._text_places else b""
            packed = self._pack(*numbers)
        except (ValueError, LookupError, struct.error):
            raise LineError(_UNFIT) from None
        if _INFINITIES[0] in packed or _INFINITIES[1] in packed:  # or, rarely, an integer of the same bits
            raise LineError(_UNFIT)
        return packed, strings

    def _strings(self, numbers: list[float], texts: Sequence[bytes]) -> bytes:
        """The strings by name; writes their lengths into `numbers`. Raises ValueError."""
        if len(texts) != len(self._text_places):
            raise ValueError("a quote is not where a string begins or ends")
        by_name = [texts[place] for place in self._text_order]
        for place, text in zip(self._text_places, by_name, strict=True):
            numbers[place] = len(text)
            text.decode()
        return b"".join(by_name)


def form_of(keys: Sequence[bytes], columns: Columns) -> Form | None:
    """None where not all keys, which have no escapes, are those of fields in `columns`, or one occurs twice."""
    joined = b",".join(keys)
    try:
        names = joined.decode().split(",")
    except UnicodeDecodeError:
        return None
    types = [columns.get(name, ColumnType.TAG) for name in names]
    known = set(names)
    if ColumnType.TAG in types or _TEXT in joined or len(known) < len(names) or not RESERVED_COLUMNS.isdisjoint(known):
        return None
    return Form(names, types)


def _integer(token: bytes) -> int:
    if not token.endswith(b"i"):
        raise ValueError(token)
    return int(token[:-1])


def _unsigned(token: bytes) -> int:
    if not token.endswith(b"u") or token.startswith(b"-"):
        raise ValueError(token)
    return int(token[:-1])


_READERS: Mapping[ColumnType, Callable[[bytes], float]] = {
    ColumnType.FLOAT: float,
    ColumnType.INTEGER: _integer,
    ColumnType.UNSIGNED: _unsigned,
    ColumnType.STRING: {_TEXT: 0}.__getitem__,
    ColumnType.BOOLEAN: BOOLEANS.__getitem__,
}

_UNFIT = "the line has not the form of an earlier one"
"""Never shown: the strict parser reads the line, and finds what is wrong with it if anything is."""
