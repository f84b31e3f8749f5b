"""Batches as hypothesis draws them: small, and made smaller when they fail."""

from hypothesis import strategies as st

from common.catalog.table_schema import TableSchema
from common.values.schema import ColumnType
from router.parsing.messages import Body
from router.parsing.time_bounds import ANY_TIME, TimeBounds
from tests.support.lines import tokens
from tests.support.lines.equality import Batch
from tests.support.lines.grammar import PRECISIONS_NS

_pieces = st.one_of(st.sampled_from(tokens.BYTES), st.binary(max_size=2))
_any_text = st.lists(_pieces, max_size=4).map(b"".join)
_text = st.one_of(st.sampled_from(tokens.WORDS), _any_text)
_escaped_text = st.one_of(_text, _text.map(lambda raw: tokens.escaped(raw, b",= ")))
_string = st.one_of(
    _any_text.map(lambda raw: b'"' + tokens.escaped(raw, b'\\"') + b'"'),
    _any_text.map(lambda raw: b'"' + raw + b'"'),
    _any_text.map(lambda raw: b'"' + raw),
)
_number = st.one_of(
    st.sampled_from(tokens.NUMBERS + tokens.OTHERS),
    st.floats().map(lambda value: repr(value).encode()),
    st.integers(-(2**64), 2**65).flatmap(
        lambda value: st.sampled_from((b"%d", b"%di", b"%du")).map(lambda as_: as_ % value)
    ),
    st.from_regex(rb"[+-]?[0-9]{0,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{0,3})?[iu]?", fullmatch=True),
)
_value = st.one_of(st.sampled_from((b"1", b"1i", b"1u", b"t", b'"s"')), _number, _string, _escaped_text)
_time = st.one_of(
    st.just(b""),
    st.just(b" 1"),
    st.sampled_from(tokens.TIMES).map(b" ".__add__),
    st.integers().map(lambda value: b" %d" % value),
)
_known_names = st.sampled_from((b"a", b"b", b"f", b"g"))
_pair = st.tuples(st.one_of(_known_names, _known_names, _escaped_text), _value).map(b"=".join)
_tag = st.tuples(st.one_of(_known_names, _escaped_text), st.one_of(_known_names, _escaped_text)).map(b"=".join)
_series = st.tuples(st.one_of(st.just(b"t"), _known_names, _escaped_text), st.lists(_tag, max_size=3)).map(
    lambda parts: b",".join((parts[0], *parts[1]))
)
_line = st.one_of(
    st.tuples(_series, st.just(b" "), st.lists(_pair, min_size=1, max_size=3).map(b",".join), _time).map(b"".join),
    st.lists(st.sampled_from(tokens.BYTES), max_size=12).map(b"".join),
    st.binary(max_size=20),
    st.sampled_from((b"t f=1", b"t,a=b f=1i 5", b"# c", b"")),
)
_end = st.sampled_from((b"\n", b"\n", b"\r\n", b"\r", b"", b" \n"))

bodies = st.builds(
    Body,
    st.lists(st.tuples(_line, _end).map(b"".join), max_size=6).map(b"".join),
    st.sampled_from(PRECISIONS_NS),
    st.integers(0, 2**62),
    st.booleans(),
    st.one_of(st.just(ANY_TIME), st.builds(TimeBounds, st.integers(-5, 5), st.integers(5, 10**12))),
)
"""Bodies of a few lines each."""

_schemas = st.dictionaries(
    st.sampled_from(("t", "a", "f")),
    st.builds(
        TableSchema,
        st.integers(1, 3),
        st.dictionaries(st.sampled_from(("a", "b", "f", "g")), st.sampled_from(ColumnType)),
    ),
)

_refused_tables = st.dictionaries(st.sampled_from(("t", "a", "b")), st.just("no room"), max_size=2)

batches = st.builds(
    Batch,
    st.just("ns"),
    st.integers(1, 4),
    st.lists(bodies, max_size=4),
    _schemas,
    st.just({}),
    st.one_of(st.just({}), _refused_tables),
)
"""Batches for a parser that is new, with settled schemas of the tables that lines are likely to name."""
