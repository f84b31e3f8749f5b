"""Lines whose ends were lost, as by `curl -d @file`: they are told from lines that are wrong in another way."""

import pytest

from router.api.joined_lines import HINT, look_joined
from tests.support.router import RunningRouter

JOINED = [
    b"m f=1m f=2",
    b"m f=1im f=2i",
    b"m f=-1.5e3cpu,host=a f=2,g=3",
    b"m f=truen f=false",
    b'm s="a b"m s="c"',
    b"m,t=a f=1 17m,t=b f=2 18",
    b"m,t=a f=1,g=2 17n f=2 18m f=3 19\n",
    b"m,t=a\\ b f=1 -17m,t=b\\ c f=2 18",
    b"m f=1m f=2m f=3 17",
]
NOT_JOINED = [
    b"",
    b"m f=",
    b"m",
    b"m f=1",
    b"m f=1 17",
    b"m f=1 17x",
    b"m f=1 g=2",
    b"m f=1 g=2 17",
    b"m,city=New York f=1 17",
    b"m,city=New York,land=x f=1 17",
    b"m f=some words x=1",
    b'm s="a m f=1 m f=2',
    b"m f=1m f=2\nm f=1",
]


@pytest.mark.parametrize("body", JOINED)
def test_joined_lines_are_known(body: bytes) -> None:
    """A measurement directly after a value or a time, and fields after it."""
    assert look_joined(body)


@pytest.mark.parametrize("body", NOT_JOINED)
def test_other_bodies_are_not_called_joined(body: bytes) -> None:
    """Good lines, other mistakes, and bodies that have line ends."""
    assert not look_joined(body)


@pytest.mark.parametrize("target", ["/write?db=ns", "/api/v2/write?bucket=ns", "/api/v3/write_lp?db=ns"])
def test_the_answer_to_joined_lines_says_how_to_send_them(router: RunningRouter, target: str) -> None:
    """The reason is followed by the hint, in every API; a body of several lines has none."""
    response, content = router.request("POST", target, b"m,t=a f=1 17m,t=b f=2 18")
    assert response.status == 400
    assert HINT in content.decode()
    assert HINT not in router.request("POST", target, b"m,t=a f=1 17m,t=b f=2 18\nm f=1")[1].decode()


@pytest.mark.parametrize("part", [b'"', b"\\", b" ", b"=", b'a="', b"f=1,", b'f="\\"'])
def test_a_long_body_of_one_line_is_looked_at_without_going_back(part: bytes) -> None:
    """Whatever quotes and backslashes it has: of a pattern that goes back, this test would not end."""
    assert not look_joined(b"m f=" + part * 1_000_000)
