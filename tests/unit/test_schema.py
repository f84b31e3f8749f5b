"""Tables and columns: the Arrow schema says everything, and fingerprints distinguish columns."""

import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from common.values import schema
from common.values.errors import DataCorrupt
from common.values.schema import ColumnType, TableId

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != schema.TIME)
COLUMNS = st.dictionaries(NAMES, st.sampled_from(ColumnType), max_size=6)


@given(COLUMNS)
def test_an_arrow_schema_explains_itself(columns: dict[str, ColumnType]) -> None:
    """columns_of is the inverse of arrow_schema: a batch alone says what is tag and what is field."""
    assert schema.columns_of(schema.arrow_schema(columns)) == columns


@given(COLUMNS)
def test_columns_have_one_order(columns: dict[str, ColumnType]) -> None:
    """time, tags by name, fields by name; the order they came in does not matter."""
    names = schema.arrow_schema(columns).names
    tags = sorted(name for name, column in columns.items() if column is ColumnType.TAG)
    fields = sorted(name for name, column in columns.items() if column is not ColumnType.TAG)
    assert names == ["time", *tags, *fields]
    assert schema.arrow_schema(dict(reversed(columns.items()))).names == names


@given(COLUMNS, COLUMNS)
@example({"a": ColumnType.FLOAT, "b": ColumnType.FLOAT}, {"a\0float\0b": ColumnType.FLOAT})
@example({"a": ColumnType.FLOAT, "b": ColumnType.FLOAT}, {"a\nfloat 1 b": ColumnType.FLOAT})
@example({"a": ColumnType.TAG}, {"a": ColumnType.STRING})
def test_other_columns_have_another_fingerprint(one: dict[str, ColumnType], other: dict[str, ColumnType]) -> None:
    """Equal for equal columns in any order, different for different ones, with any characters in the names."""
    assert schema.fingerprint(one) == schema.fingerprint(dict(reversed(one.items())))
    assume(one != other)
    assert schema.fingerprint(one) != schema.fingerprint(other)


def test_the_fingerprint_is_fixed() -> None:
    """It is in stored entries: a change would make every one of them corrupt."""
    columns = {"host": ColumnType.TAG, "load": ColumnType.FLOAT, "naïve": ColumnType.STRING}
    assert schema.fingerprint(columns) == 9998758829532551797


def test_the_union_of_schemas_has_every_column() -> None:
    """Batches of one table may bring different columns; together they have all."""
    tag, value = {"host": ColumnType.TAG}, {"load": ColumnType.FLOAT}
    assert schema.union([tag, value, tag]) == tag | value
    assert schema.union([]) == {}


def test_two_types_for_one_column_are_corrupt() -> None:
    """The schema store settles types, so that batches that disagree were not written by penstock."""
    with pytest.raises(DataCorrupt, match="'v' is integer in one batch and float in another"):
        schema.union([{"v": ColumnType.INTEGER}, {"v": ColumnType.FLOAT}])


def test_a_column_that_occurs_twice_is_corrupt() -> None:
    """A reader could not know which of the two is meant."""
    twice = schema.arrow_schema({"v": ColumnType.FLOAT})
    with pytest.raises(DataCorrupt, match="occurs twice"):
        schema.columns_of(pa.schema([*twice, twice.field("v")]))


def test_a_table_is_named_with_its_namespace() -> None:
    """Messages say namespace/table, and tables sort by both."""
    assert str(TableId("metrics", "cpu")) == "metrics/cpu"
    assert sorted([TableId("b", "a"), TableId("a", "b")]) == [TableId("a", "b"), TableId("b", "a")]
