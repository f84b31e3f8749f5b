"""`penstock write`: cutting, sending, retrying, and finding refused lines in the file."""

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from common.values.clock import FakeClock
from common.values.errors import InvalidRequest, PenstockError, Unavailable
from common.values.shown import counted
from penstock.cli import cli
from penstock.writing.client import WriteClient
from penstock.writing.transfer import BODY_BYTES_MAX, RetryNotes, bodies
from tests.support.ports import free_ports
from tests.support.stub_router import StubAnswer, StubRouter, refused, stub_router

STORED = StubAnswer(token="1:0=1")


def write(router: StubRouter, data: bytes, *arguments: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines.lp"
        file.write_bytes(data)
        return CliRunner().invoke(cli, ["write", str(file), "--namespace", "metrics", "--url", router.url, *arguments])


def client_of(url: str, clock: FakeClock, **more: Callable[[str, float], None]) -> WriteClient:
    """Whose pauses move the clock instead of the day."""
    return WriteClient(url, "metrics", timeout_s=30.0, clock=clock, sleep=clock.advance, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty: give a name"),
        ("x" * 512, "of 512 bytes: give at most 511"),
        ("a\tb", "'a\\tb': give a name without control characters"),
    ],
)
@pytest.mark.parametrize("command", [["write", "-"], ["load"], ["query", "SELECT 1"], ["schema", "show"]])
def test_a_namespace_that_cannot_be_is_refused_by_the_name_of_the_flag(
    command: list[str], name: str, reason: str
) -> None:
    """Before anything is sent or read; a router calls it `bucket`."""
    result = CliRunner().invoke(cli, [*command, "--namespace", name])
    assert result.exit_code == 2
    assert f"--namespace {reason}" in result.stderr


def test_one_row_is_not_called_rows() -> None:
    """Nor one line lines; zero and many are."""
    assert [counted(count, "row") for count in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [counted(count, "batch", "batches") for count in (0, 1, 2)] == ["0 batches", "1 batch", "2 batches"]
    with stub_router(lambda number, body: STORED) as router:
        assert write(router, b"cpu a=1 1\n").stdout.startswith("1 row written; 1 line read\n")


def test_a_small_file_goes_as_one_gzip_request() -> None:
    """The lines arrive unchanged, compressed, for the namespace and precision asked for; rows and token are printed."""
    with stub_router(lambda number, body: STORED) as router:
        result = write(router, b"cpu a=1 1\n\n# comment\ncpu a=2 2\n", "--precision", "s")
    assert result.exit_code == 0, result.output
    [(path, headers, body)] = router.requests
    assert path == "/api/v2/write?bucket=metrics&precision=s"
    assert headers["Content-Encoding"] == "gzip"
    assert body == b"cpu a=1 1\n\n# comment\ncpu a=2 2\n"
    assert result.stdout == "2 rows written; 4 lines read\nwrite token 1:0=1\n"
    assert result.stderr == ""


def test_a_large_file_goes_in_bodies_of_whole_lines_over_one_connection() -> None:
    """Bodies stay within 1 MB, end at line ends, and together are the file."""
    data = b"".join(b"cpu,host=h%d usage=%d %d\n" % (n % 7, n, n) for n in range(100_000))
    with stub_router(lambda number, body: STORED) as router:
        result = write(router, data)
    assert result.exit_code == 0, result.output
    assert len(router.bodies) > 2
    assert b"".join(router.bodies) == data
    assert all(len(body) <= BODY_BYTES_MAX and body.endswith(b"\n") for body in router.bodies)
    assert router.connections == 1
    assert "100,000 rows written" in result.stdout


@pytest.mark.parametrize("lines", [1, 120_000])
def test_a_gzip_file_is_unpacked_by_its_first_bytes(lines: int) -> None:
    """Its name does not matter; bodies, rows and line numbers are those of the text within."""
    data = b"".join(b"cpu,host=h%d usage=%d %d\n" % (n % 7, n, n) for n in range(lines))
    with stub_router(lambda number, body: STORED) as router:
        result = write(router, gzip.compress(data))
    assert result.exit_code == 0, result.output
    assert b"".join(router.bodies) == data
    assert f"{counted(lines, 'row')} written; {counted(lines, 'line')} read\n" in result.stdout


def test_a_gzip_file_that_is_cut_off_is_reported() -> None:
    """What was read before may be stored; the end of the file is missed in words, not in a traceback."""
    with stub_router(lambda number, body: STORED) as router:
        result = write(router, gzip.compress(b"cpu a=1 1\n" * 1000)[:-9])
    assert result.exit_code == 2
    assert "the gzip file is damaged or cut off" in result.stderr


def test_a_reason_is_said_when_it_is_new_and_then_every_ten_seconds() -> None:
    """A long spell of one reason does not fill the screen; each line names the router."""
    clock = FakeClock()
    said: list[str] = []
    note = RetryNotes("http://r:1", said.append, clock)
    for second in range(12):
        note("503 busy" if second else "Connection refused", 1.0)
        clock.advance(1.0)
    assert said == [
        "http://r:1: Connection refused; again in 1 s",
        "http://r:1: 503 busy; again in 1 s",
        "http://r:1: 503 busy; again in 1 s",
    ]


def test_refused_lines_are_named_by_their_number_in_the_file() -> None:
    """A line refused in a later body is reported with the file's own line number, on stderr, and the exit code is 1."""
    line = b"cpu usage=1 1\n"
    first_body_lines = (BODY_BYTES_MAX // len(line)) + 1

    def answer(number: int, body: bytes) -> StubAnswer:
        rows = body.count(b"\n")
        return refused((3, "bad field"), of=rows, token="1:0=9") if number == 1 else STORED

    with stub_router(answer) as router:
        result = write(router, line * (first_body_lines + 10))
    in_first = router.bodies[0].count(b"\n")
    assert len(router.bodies) == 2
    assert result.exit_code == 1
    assert f"lines.lp:{in_first + 3}: bad field" in result.stderr
    assert f"{first_body_lines + 9:,} rows written, 1 refused" in result.stdout


def test_fields_that_were_left_out_are_shown_and_counted() -> None:
    """The first of each body by its line in the file, and their number in all; the exit code stays 0."""
    line = b"cpu usage=1,time=5 1\n"
    dropped = StubAnswer(token="1:0=1", dropped="4; line 2: field 'time' left out, the name is reserved")
    with stub_router(lambda number, body: dropped if number else STORED) as router:
        result = write(router, line * (BODY_BYTES_MAX // len(line) + 10))
    in_first = router.bodies[0].count(b"\n")
    assert result.exit_code == 0, result.output
    assert f"lines.lp:{in_first + 2}: field 'time' left out, the name is reserved; with others, 4 " in result.stderr
    assert " rows written, 4 fields left out; " in result.stdout


def test_fields_left_out_of_a_partly_refused_body_are_shown() -> None:
    """A 400 lists them beside the refused lines."""
    answer = refused((2, "bad field"), of=2, token="1:0=9")
    answer.document["dropped_fields"] = [{"line_number": 1, "field": "time"}]
    with stub_router(lambda number, body: answer) as router:
        result = write(router, b"cpu a=1,time=7 1\ncpu a= 2\n", "--json")
    assert result.exit_code == 1
    assert "lines.lp:1: field 'time' left out, the name is reserved" in result.stderr
    assert json.loads(result.stdout)["dropped_count"] == 1


def test_a_comment_after_a_byte_order_mark_is_no_row() -> None:
    """The router passes over the mark, and so it is a comment."""
    [body] = bodies(io.BytesIO(b"\xef\xbb\xbf# comment\ncpu a=1 1\n"))
    assert body.rows == 1


def test_json_has_rows_refusals_and_the_merged_token() -> None:
    """For scripts: figures, refused lines with reasons, and one token with the newest offset of each sequencer."""
    line = b"cpu usage=1 1\n"
    answers = [
        StubAnswer(token="1:0=5,1=2"),
        refused((1, "x"), (2, "y"), of=99, token="1:0=7,3=1", count=4),
    ]
    data = line * (BODY_BYTES_MAX // len(line) + 50)
    with stub_router(lambda number, body: answers[number]) as router:
        result = write(router, data, "--json")
    assert result.exit_code == 1
    outcome = json.loads(result.stdout)
    in_first = router.bodies[0].count(b"\n")
    assert outcome["token"] == "1:0=7,1=2,3=1"
    assert outcome["refused"] == [{"line": in_first + 1, "reason": "x"}, {"line": in_first + 2, "reason": "y"}]
    assert outcome["refused_count"] == 4
    assert outcome["rows"] == data.count(b"\n") - 4
    assert (outcome["batches"], outcome["bytes"]) == (2, len(data))


def test_a_busy_router_is_asked_again_when_it_says() -> None:
    """503 pauses for as long as Retry-After says, then the same body goes again."""
    clock = FakeClock()
    pauses: list[float] = []
    busy = StubAnswer(503, document={"code": "unavailable", "message": "busy"}, retry_after="7")
    with stub_router(lambda number, body: busy if number < 2 else STORED) as router:
        client = client_of(router.url, clock, on_retry=lambda reason, pause_s: pauses.append(pause_s))
        written = client.write(b"cpu a=1\n")
        client.close()
    assert (written.token, written.attempts) == ("1:0=1", 3)
    assert pauses == [7.0, 7.0]
    assert router.bodies == [b"cpu a=1\n"] * 3


def test_a_lost_connection_is_made_again_with_growing_pauses() -> None:
    """A router that hangs up without an answer is tried again on a new connection."""
    clock = FakeClock()
    pauses: list[float] = []
    with stub_router(lambda number, body: StubAnswer(hang_up=number < 3, token="1:0=1")) as router:
        client = client_of(router.url, clock, on_retry=lambda reason, pause_s: pauses.append(pause_s))
        assert client.write(b"cpu a=1\n").attempts == 4
        client.close()
    assert pauses == [0.25, 0.5, 1.0]
    assert router.connections == 4


def test_retries_are_bounded_by_the_timeout() -> None:
    """A router that stays away is given up after the time asked for, and the message says what to look at."""
    clock = FakeClock()
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(Unavailable, match=r"Connection refused; given up after .* attempts in 30 s") as given_up:
        client_of(url, clock).write(b"cpu a=1\n")
    assert given_up.value.written == "unknown"
    assert 15 < clock.monotonic_s() <= 30


def test_a_router_that_is_away_is_exit_code_3() -> None:
    """The command ends with the code of "try again later", and still reports what was written before."""
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    command = ["write", "-", "--namespace", "metrics", "--url", url, "--timeout", "0"]
    result = CliRunner().invoke(cli, command, input="cpu a=1\n")
    assert result.exit_code == 3
    assert result.stdout == "0 rows written; 0 lines read\n"
    assert result.stderr.startswith(f"penstock: error: {url}: Connection refused")


def test_a_refused_request_is_not_tried_again() -> None:
    """What is wrong with the request as a whole ends the command with the router's reason."""
    answer = StubAnswer(400, document={"code": "invalid", "message": "namespace is empty"})
    with stub_router(lambda number, body: answer) as router:
        result = write(router, b"cpu a=1\n")
    assert result.exit_code == 2
    assert len(router.requests) == 1
    assert "400 namespace is empty" in result.stderr


def test_a_failure_inside_the_router_is_no_fault_of_the_call() -> None:
    """500 is reported as it is and is exit code 1, not 2."""
    with stub_router(lambda number, body: StubAnswer(500, document={"message": "broken"})) as router:
        with pytest.raises(PenstockError, match="500 broken") as failed:
            WriteClient(router.url, "metrics").write(b"cpu a=1\n")
    assert not isinstance(failed.value, InvalidRequest)


def test_a_url_without_a_host_is_refused() -> None:
    """The message shows the right form."""
    with pytest.raises(InvalidRequest, match="give http://host:port"):
        WriteClient("localhost:8086", "metrics")


lines = st.lists(st.sampled_from([b"cpu a=1 1", b"", b"# c", b'log s="two\nlines" 5', b"m,t=x f=2i\r"]))


@given(lines, st.integers(40, 90), st.booleans())
def test_bodies_are_the_file_cut_at_the_ends_of_lines(pieces: list[bytes], bytes_max: int, newline: bool) -> None:
    """All that is cut off is whole lines: each body starts where a line starts, numbered as in the file."""
    data = b"\n".join(pieces) + (b"\n" if newline else b"")
    found = list(bodies(io.BytesIO(data), bytes_max))
    file_lines = data.split(b"\n")
    for body in found:
        assert len(body.data) <= bytes_max
        assert body.data.rstrip(b"\n").split(b"\n")[0] == file_lines[body.first_line - 1]
    kept = b"".join(body.data for body in found)
    rows = [line for line in data.split(b"\n") if line.strip() and not line.strip().startswith(b"#")]
    assert all(line in kept for line in rows)


def test_a_string_with_newlines_is_never_cut() -> None:
    """A newline inside a string field is no line end, also where a body would have to end there."""
    line = b'log text="' + b"a\n" * 30 + b'" 1\n'
    found = list(bodies(io.BytesIO(line * 5), 100))
    assert [body.data for body in found] == [line] * 5
    assert [body.first_line for body in found] == [1, 32, 63, 94, 125]
    assert [body.rows for body in found] == [1] * 5


def test_a_line_longer_than_a_body_is_refused_by_number() -> None:
    """Half a line must never be sent: it could be read as another value."""
    stream = bodies(io.BytesIO(b"cpu a=1\ncpu a=" + b"1" * 500 + b"\n"), 100)
    assert next(stream).data == b"cpu a=1\n"
    with pytest.raises(InvalidRequest, match="line 2 is over 100 bytes"):
        next(stream)
