"""The model that parsers are held equal to: it says by hand what lines mean, and no difference escapes it."""

import copy
from collections.abc import Callable

import pytest

from common.catalog.table_schema import TableSchema
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.parsing.batch import BatchParser
from router.parsing.messages import Body, DroppedField, RefusedLine
from router.parsing.time_bounds import TimeBounds
from tests.support.reference_batch import Outcome, Row, assert_equal, expected, found

FLOAT, INTEGER, STRING, TAG = ColumnType.FLOAT, ColumnType.INTEGER, ColumnType.STRING, ColumnType.TAG
KNOWN = {"t": TableSchema(4, {"f": FLOAT})}
BODIES = [
    Body(b't,h=a f=-0,time=1 5\nt,h=a f=1i\n\n# c\nt s="x\ny"\nbad', 1_000, 77),
    Body(b"u g=1i\nbad", 1, 0, all_or_nothing=True),
    Body(b"t f=2 1\nv f=1 2\n", 1, 0, times=TimeBounds(0, 1)),
]
SEQUENCER = SequencerId(0)


def outcome() -> Outcome:
    return expected("ns", 1, KNOWN, BODIES)


def test_the_model_says_by_hand_what_became_of_each_line() -> None:
    """Rows in order with exact values, refusals with their numbers, columns and versions, a withdrawn body gone."""
    model = outcome()
    first, second, third = model.requests
    assert model.rows == {
        (SEQUENCER, "t"): [
            Row(5_000, (("h", "a"),), {"f": (FLOAT, "-0x0.0p+0")}),
            Row(77, (), {"s": (STRING, "x\ny")}),
            Row(1, (), {"f": (FLOAT, "0x1.0000000000000p+1")}),
        ]
    }
    assert model.columns == {(SEQUENCER, "t"): {"h": TAG, "f": FLOAT, "s": STRING}}
    assert [(line.number, line.start) for line in first.refused] == [(2, "t,h=a f=1i"), (7, "bad")]
    assert (first.accepted, first.dropped, first.needs_additions) == (2, [DroppedField(1, "time")], True)
    assert (second.accepted, second.withdrawn, second.refused_count) == (0, 1, 1)
    assert (third.accepted, third.needs_additions, third.sequencers) == (1, False, {SEQUENCER})
    assert [line.number for line in third.refused] == [2]
    assert model.additions == {"t": {"h": TAG, "s": STRING}}
    assert model.lacking == {"t": 4, "u": 0}
    assert model.line_count == 8


def test_the_parser_gives_the_same() -> None:
    """Decoded payloads have the model's form, and nothing differs."""
    assert_equal(outcome(), found("ns", BatchParser(1).parse("ns", BODIES, KNOWN)))


def reorder(model: Outcome) -> None:
    model.rows[SEQUENCER, "t"].reverse()


def lose_a_row(model: Outcome) -> None:
    model.rows[SEQUENCER, "t"].pop()


def drop_the_sign(model: Outcome) -> None:
    model.rows[SEQUENCER, "t"][0] = Row(5_000, (("h", "a"),), {"f": (FLOAT, "0x0.0p+0")})


def lose_a_tag(model: Outcome) -> None:
    model.rows[SEQUENCER, "t"][0] = Row(5_000, (), {"f": (FLOAT, "-0x0.0p+0")})


def move_rows(model: Outcome) -> None:
    model.rows[SequencerId(1), "t"] = model.rows.pop((SEQUENCER, "t"))


def leave_an_empty_column(model: Outcome) -> None:
    model.columns[SEQUENCER, "t"]["refused"] = INTEGER


def renumber(model: Outcome) -> None:
    refused = model.requests[0].refused
    refused[0] = RefusedLine(3, refused[0].reason, refused[0].start)


def lose_a_refusal(model: Outcome) -> None:
    model.requests[0].refused.pop()


def lose_a_dropped_field(model: Outcome) -> None:
    model.requests[0].dropped.pop()


def count_one_less(model: Outcome) -> None:
    model.requests[1].withdrawn = 0


def need_nothing(model: Outcome) -> None:
    model.requests[0].needs_additions = False


def lose_a_request(model: Outcome) -> None:
    model.requests = model.requests[:2]


def change_an_addition(model: Outcome) -> None:
    model.additions = {"t": {"h": TAG, "s": FLOAT}}


def lose_a_lacking_table(model: Outcome) -> None:
    model.lacking = {"t": 4}


@pytest.mark.parametrize(
    ("change", "report"),
    [
        (reorder, "sequencer 0, table 't': time_ns of row 0 is 1, not 5000"),
        (lose_a_row, "sequencer 0, table 't': 2 rows, not 3"),
        (drop_the_sign, "fields of row 0['f'] is (<ColumnType.FLOAT: 'float'>, '0x0.0p+0'), not"),
        (lose_a_tag, "tags of row 0 is (), not (('h', 'a'),)"),
        (move_rows, "sequencer 0, table 't': 0 rows, not 3"),
        (leave_an_empty_column, "columns[(0, 't')] is"),
        (renumber, "body 0: refused[0] is RefusedLine(number=3"),
        (lose_a_refusal, "body 0: refused: 1, not 2"),
        (lose_a_dropped_field, "body 0: dropped: 0, not 1"),
        (count_one_less, "body 1: withdrawn is 0, not 1"),
        (need_nothing, "body 0: needs_additions is False, not True"),
        (lose_a_request, "2 requests, not 3"),
        (change_an_addition, "additions['t'] is"),
        (lose_a_lacking_table, "lacking['u'] is None, not 0"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_difference_is_found(change: Callable[[Outcome], None], report: str) -> None:
    """Whatever a wrong parser would give, the first difference is reported with its place and both values."""
    changed = copy.deepcopy(outcome())
    change(changed)
    with pytest.raises(AssertionError) as difference:
        assert_equal(outcome(), changed)
    assert report in str(difference.value)
