"""The write token: what a write returns is what a query understands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.token import format_token, parse_token

OFFSETS = st.dictionaries(st.integers(0, 998).map(SequencerId), st.integers(0, 2**63 - 1).map(Offset))


@given(OFFSETS)
def test_a_token_says_what_was_put_into_it(offsets: dict[SequencerId, Offset]) -> None:
    """parse_token is the inverse of format_token."""
    assert parse_token(format_token(offsets)) == offsets


def test_a_token_names_sequencers_in_order() -> None:
    """Equal writes have equal tokens, as the documentation shows them."""
    offsets = {SequencerId(3): Offset(77), SequencerId(0): Offset(1234)}
    assert format_token(offsets) == "1:0=1234,3=77"


def test_space_around_a_token_is_no_error() -> None:
    """A token pasted from a terminal brings its line end with it."""
    assert parse_token(" 1:0=5\n") == {0: 5}


@pytest.mark.parametrize(
    "token",
    [
        *("", "1", "2:0=1", "0=1", "1:0", "1:0=", "1:=1", "1:0=1,", "1:0=1=2"),
        *("1:0=-1", "1:0=+1", "1:0=٣", "1:0= 1", "1:a=1", "1:0=" + "9" * 5000),
    ],
)
def test_what_is_not_a_token_is_refused_with_the_form(token: str) -> None:
    """The message shows what was given and the right form."""
    with pytest.raises(InvalidRequest, match=r"not of the form 1:0=1234,3=77") as refused:
        parse_token(token)
    assert refused.value.token == token


def test_a_sequencer_named_twice_is_refused() -> None:
    """Which of the two offsets was meant cannot be known."""
    with pytest.raises(InvalidRequest, match="twice"):
        parse_token("1:0=1,0=2")
