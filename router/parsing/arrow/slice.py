"""Some rows of a stream, column by column: checked, then handed out for their sequencers.

The limits are those of lines, the reasons in the same words. NaN and the infinities, which lines cannot say, are values
here.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from common.values.schema import ARROW_TYPES, TIME_NS_MAX, TIME_NS_MIN, TIME_TYPE, Columns, ColumnType, arrow_schema
from common.values.shown import shown
from router.lineprotocol.point import LineError
from router.lineprotocol.scalar import LINE_BYTES_MAX, NAME_BYTES_MAX, STRING_BYTES_MAX
from router.parsing.arrow.columns import Layout
from router.parsing.arrow.refusals import Mask, Refusals
from router.parsing.arrow.tags import ABSENT, TagColumn, tag_column
from router.parsing.time_bounds import TimeBounds, check_time

_UNFIT_IN_VALUES = "[\\x00\\r\\n]"

Rows = npt.NDArray[np.intp]


class Slice:
    """Consecutive rows. times_ns is 0 where a time is refused."""

    def __init__(self, batch: pa.RecordBatch, layout: Layout) -> None:
        self.rows = batch.num_rows
        self.refusals = Refusals(self.rows)
        self._fields = {name: (batch.column(at), column) for name, (at, column) in layout.fields.items()}
        self._present = {name: _valid(array) for name, (array, _) in self._fields.items()}
        self.tags = {name: tag_column(batch.column(at)) for name, at in layout.tags.items()}
        self.times_ns = self._read_times(batch.column(layout.time_at), layout.unit_ns)

    def check(self, bounds: TimeBounds) -> None:
        """Refuse what could be refused whatever the table's columns are."""
        self._check_bounds(bounds)
        for name, tag in self.tags.items():
            self._check_tag(name, tag)
        for name, (array, column) in self._fields.items():
            if column is ColumnType.STRING:
                self._check_strings(name, _sizes(array))
        some = np.zeros(self.rows, np.bool_)
        for present in self._present.values():
            some |= present
        self.refusals.refuse(~some, lambda row: "missing fields: every field of the row is null")
        self._check_sizes()

    def with_value(self, name: str) -> Mask:
        """The rows that have a value in a column."""
        return self.tags[name].codes != ABSENT if name in self.tags else self._present[name]

    def used(self, columns: Columns) -> set[str]:
        """Those of `columns` that an accepted row has a value in."""
        accepted = ~self.refusals.refused
        return {name for name in columns if (self.with_value(name) & accepted).any()}

    def take(self, rows: Rows) -> pa.RecordBatch:
        """These rows in penstock's columns, without those that none of them has a value in."""
        arrays: dict[str, pa.Array] = {}
        columns: dict[str, ColumnType] = {}
        for name in self.tags:
            if self.with_value(name)[rows].any():
                arrays[name], columns[name] = self.tags[name].take(rows).to_arrow(), ColumnType.TAG
        places = None if len(rows) == self.rows else pa.array(rows, pa.int64())
        for name, (array, column) in self._fields.items():
            if self._present[name][rows].any():
                arrays[name], columns[name] = _rows_of(array, places).cast(ARROW_TYPES[column]), column
        schema = arrow_schema(columns)
        times = pa.array(self.times_ns[rows]).view(TIME_TYPE)
        return pa.RecordBatch.from_arrays([times, *(arrays[name] for name in schema.names[1:])], schema=schema)

    def _read_times(self, column: pa.Array, unit_ns: int) -> npt.NDArray[np.int64]:
        valid = _valid(column)
        times = column.view(pa.int64()).fill_null(0).to_numpy()
        fits = (times >= -(-TIME_NS_MIN // unit_ns)) & (times <= TIME_NS_MAX // unit_ns)
        self.refusals.refuse(~valid, lambda row: "the row has no time: column time is null")
        self.refusals.refuse(~fits, lambda row: f"time {times[row]} is outside the years 1677 to 2262")
        return np.where(fits, times, 0) * unit_ns

    def _check_bounds(self, bounds: TimeBounds) -> None:
        def reason_of(row: int) -> str:
            try:
                check_time(int(self.times_ns[row]), bounds)
            except LineError as error:
                return error.reason
            raise AssertionError(f"row {row} is within {bounds}")

        self.refusals.refuse((self.times_ns < bounds.min_ns) | (self.times_ns > bounds.max_ns), reason_of)

    def _check_tag(self, name: str, tag: TagColumn) -> None:
        """Each value once, then the rows that use a wrong one."""
        sizes = _sizes(tag.values)
        self._refuse_values(tag, sizes == 0, lambda value: f"tag {shown(name)} has an empty value")
        over = f"bytes is over {NAME_BYTES_MAX}"
        self._refuse_values(tag, sizes > NAME_BYTES_MAX, lambda value: f"tag value of {len(value.encode())} {over}")
        unfit = pc.match_substring_regex(tag.values, _UNFIT_IN_VALUES).to_numpy(zero_copy_only=False)
        self._refuse_values(tag, unfit, lambda value: f"tag value {shown(value)} contains a control character")

    def _check_strings(self, name: str, sizes: npt.NDArray[np.int64]) -> None:
        field, over = f"field {shown(name)}", f"bytes is over {STRING_BYTES_MAX}"
        self.refusals.refuse(sizes > STRING_BYTES_MAX, lambda row: f"{field}: string of {sizes[row]} {over}")

    def _refuse_values(self, tag: TagColumn, wrong: Mask, reason_of: Callable[[str], str]) -> None:
        if wrong.any():
            rows = np.append(wrong, False)[tag.codes]  # of an absent value: the last
            self.refusals.refuse(rows, lambda row: reason_of(tag.values[int(tag.codes[row])].as_py()))

    def _check_sizes(self) -> None:
        """As many bytes as a line may have: names, strings and 8 for any other value."""
        sizes = np.zeros(self.rows, np.int64)
        for name, tag in self.tags.items():
            with_name = np.append(_sizes(tag.values) + len(name.encode()), 0)
            sizes += with_name[tag.codes]
        for name, (array, column) in self._fields.items():
            values = _sizes(array) if column is ColumnType.STRING else np.full(self.rows, 8)
            sizes += np.where(self._present[name], values + len(name.encode()), 0)
        over = f"bytes is over {LINE_BYTES_MAX}, its names included"
        self.refusals.refuse(sizes > LINE_BYTES_MAX, lambda row: f"row of {sizes[row]} {over}")


def _rows_of(array: pa.Array, places: pa.Array | None) -> pa.Array:
    """places: None for all of it."""
    return array if places is None else array.take(places)


def _valid(array: pa.Array) -> Mask:
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    mask: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return mask


def _sizes(array: pa.Array) -> npt.NDArray[np.int64]:
    """Bytes by row, 0 for null."""
    sizes: npt.NDArray[np.integer] = pc.binary_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    return sizes.astype(np.int64)
