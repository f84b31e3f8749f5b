"""`penstock buffer copy` and `info` between file, Redis and Kafka: in every direction, and over every interruption.

The copying process is interrupted and killed, and so are the servers it copies from and to; the same command with
--resume then makes the destination equal to the source.
"""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from common.values.errors import PenstockError
from common.values.ids import Offset, SequencerId
from penstock.cli import cli
from tests.support.buffer_records import read_all, record
from tests.support.campaign import campaign
from tests.support.services import killable_server
from tests.support.wait import wait_until
from writebuffer import contract
from writebuffer.connect import connect
from writebuffer.contract import Backend, Trimmable

KINDS = ("file", "redis", "kafka")
PAIRS = [(source, destination) for source in KINDS for destination in KINDS]
ONE = SequencerId(0)

Urls = Callable[[str], str]

SLOW = """
from penstock.buffers import copy as buffer_copy
from penstock.cli import main

buffer_copy.POLL_RECORDS = 3
buffer_copy.POLL_TIMEOUT_S = 2.0
main()
"""
"""The command with so small batches that a copy can be interrupted, and with less patience for its source."""


@pytest.fixture
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Urls:
    """A URL of that kind at which nothing is made yet; a server is started when the first one asks."""

    def new(kind: str) -> str:
        name = uuid.uuid4().hex
        match kind:
            case "redis":
                return f"{request.getfixturevalue('redis_url')}?stream={name}"
            case "kafka":
                return f"{request.getfixturevalue('kafka_url')}/{name}"
        return f"file://{tmp_path}/{name}"

    return new


def made(url: str, *counts: int) -> Backend:
    """A buffer with so many records on its sequencers, in appends of several sizes."""
    backend = connect(url)
    backend.create(len(counts))
    writer = backend.open_writer()
    for number, count in enumerate(counts):
        for first in range(0, count, 7):
            batch = [record(each, 20 + each % 50 * 40) for each in range(first, min(first + 7, count))]
            writer.append_many(SequencerId(number), batch)
    writer.flush(60)
    writer.close()
    return backend


def run(*arguments: object) -> dict[str, Any]:
    result = CliRunner().invoke(cli, ["buffer", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def bare(found: list[tuple[int, Any]]) -> list[Any]:
    return [each for _, each in found]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_records_go_from_any_buffer_to_any_other(urls: Urls, source: str, destination: str) -> None:
    """Byte for byte, in order; the report says which offsets became which, and `info` shows the same."""
    source, destination = urls(source), urls(destination)
    there = made(source, 300, 0, 50)
    begun = run("copy", source, destination, "--sequencer", 0, "--from-offset", 20, "--to-offset", 120)
    copied = connect(destination)
    [one] = begun["sequencers"]
    found = read_all(copied)
    assert bare(found) == bare(read_all(there))[20:120]
    assert (one["records"], one["bytes"]) == (100, sum(map(len, bare(found))))
    assert (one["source_first"], one["source_last"]) == (20, 119)
    assert (one["destination_first"], one["destination_last"]) == (found[0][0], found[-1][0])

    [one] = run("copy", source, destination, "--sequencer", 0, "--from-offset", 20, "--resume")["sequencers"]
    assert (one["found"], one["records"], one["source_first"], one["source_last"]) == (100, 180, 120, 299)
    [again, none, other] = run("copy", source, destination, "--sequencer", "all", "--append")["sequencers"]
    once = destination.startswith("redis:")  # it knows what this producer sent before
    assert (again["records"], again["left_out"]) == ((20, 280) if once else (300, 0))
    whole, found = bare(read_all(there)), read_all(copied)
    assert bare(found) == (whole[20:] + whole[:20] if once else whole[20:] + whole)
    assert (again["destination_first"], again["destination_last"]) == (found[280][0], found[-1][0])
    assert (none["records"], none["destination_first"]) == (0, None)
    assert other["records"] == 50
    assert bare(read_all(copied, 2)) == bare(read_all(there, 2))

    for url, backend in ((source, there), (destination, copied)):
        reader = backend.open_reader()
        shown = run("info", url)
        assert shown["powers"] == sorted(
            power.__name__ for power in backend.powers if power.__module__ == contract.__name__
        )
        assert [(each["first"], each["next"], each["identity"]) for each in shown["sequencers"]] == [
            (offsets.first_offset, offsets.next_offset, reader.identity(number))
            for number in reader.sequencers()
            for offsets in [reader.offsets(number)]
        ]
        reader.close()


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_a_copy_goes_on_although_its_source_was_trimmed(urls: Urls, kind: str) -> None:
    """What was trimmed had been copied: the same command copies the rest, with or without --from-offset."""
    source = urls(kind)
    there = made(source, 300)
    whole = bare(read_all(there))
    begun = {urls("file"): ["--from-offset", 20], urls("redis"): []}
    for destination, asked in begun.items():
        run("copy", source, destination, "--sequencer", 0, *asked, "--to-offset", 120)
    trimmer = there.open_reader()
    assert isinstance(trimmer, Trimmable)
    assert trimmer.trim(ONE, Offset(100)) == 100
    for destination, asked in begun.items():
        first = 20 if asked else 0
        [one] = run("copy", source, destination, "--sequencer", 0, *asked, "--resume")["sequencers"]
        assert (one["before"], one["found"], one["records"]) == (100 - first, 20, 180)
        assert bare(read_all(connect(destination))) == whole[first:]
    trimmer.trim(ONE, Offset(300))
    result = CliRunner().invoke(cli, ["buffer", "copy", source, next(iter(begun)), "--sequencer", "0", "--resume"])
    assert result.exit_code == 2
    assert "does not have the source's record at 300" in result.stderr


@pytest.mark.parametrize(("source", "destination"), PAIRS)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_copy_that_was_interrupted_or_killed_goes_on(
    urls: Urls, source: str, destination: str, how: signal.Signals
) -> None:
    """Nothing is lost or twice. After Ctrl-C the report says exactly what is stored."""
    source, destination = urls(source), urls(destination)
    there = made(source, 2000)
    copied = connect(destination)
    copying = start_copy(source, destination)
    wait_until(lambda: next_offset(copied), holds=lambda end: end > 30, what="the copy is under way")
    copying.send_signal(how)
    said, _ = copying.communicate(timeout=60)
    stored = len(read_all(copied))
    assert copying.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert 0 < stored < 2000
    if how is signal.SIGINT:
        [one] = json.loads(said)["sequencers"]
        assert (one["records"], one["go_on_at"], one["unknown_to"]) == (stored, stored, None)
    [one] = run("copy", source, destination, "--sequencer", "all", "--resume")["sequencers"]
    assert stored <= one["found"] <= stored + 3  # of a file, opening it proves what was synced and not yet published
    assert one["found"] + one["records"] == 2000
    assert bare(read_all(copied)) == bare(read_all(there))


def next_offset(backend: Backend) -> int:
    """0 while there is nothing."""
    try:
        reader = backend.open_reader()
    except PenstockError:
        return 0
    try:
        return reader.offsets(ONE).next_offset
    finally:
        reader.close()


PATIENCE = {"redis": "&timeout_s=2", "kafka": "?delivery.timeout.ms=4000&request.timeout.ms=2000"}
"""So that a copy gives a server up sooner than by default."""


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        ("redis", "source"),
        pytest.param("redis", "destination", marks=campaign),
        pytest.param("kafka", "source", marks=campaign),
        pytest.param("kafka", "destination", marks=campaign),
    ],
)
def test_a_copy_whose_server_goes_away_ends_and_goes_on(tmp_path: Path, kind: str, role: str) -> None:
    """SIGKILL of the server it reads from or writes to: exit code 3, and with --resume nothing is lost or twice."""
    with killable_server(kind, tmp_path) as server:
        url, other = server.buffer_url + PATIENCE[kind], f"file://{tmp_path}/file"
        source, destination = (url, other) if role == "source" else (other, url)
        there, copied = made(source, 3000), connect(destination)
        copying = start_copy(source, destination)
        wait_until(lambda: next_offset(copied), holds=lambda end: end > 30, what="the copy is under way")
        server.kill()
        said, error = copying.communicate(timeout=60)
        server.start()
        assert (copying.returncode, error.count("penstock: error:")) == (3, 1), error
        [one] = json.loads(said)["sequencers"]
        stored = len(read_all(copied))
        assert one["go_on_at"] == one["records"] <= stored
        assert stored in (one["records"], *range(one["records"], one["unknown_to"] or 0), one["unknown_to"])
        [one] = run("copy", source, destination, "--sequencer", 0, "--resume")["sequencers"]
        assert one["found"] + one["records"] == 3000
        assert bare(read_all(copied)) == bare(read_all(there))


@pytest.mark.parametrize("kind", PATIENCE)
def test_a_copy_outlives_a_server_that_comes_back(tmp_path: Path, kind: str) -> None:
    """Killed and started at once, the destination's server gets the rest: complete, or to be resumed."""
    with killable_server(kind, tmp_path) as server:
        source, destination = f"file://{tmp_path}/file", server.buffer_url
        there, copied = made(source, 3000), connect(destination)
        copying = start_copy(source, destination)
        wait_until(lambda: next_offset(copied), holds=lambda end: end > 30, what="the copy is under way")
        server.kill()
        server.start()
        said, error = copying.communicate(timeout=60)
        assert copying.returncode in (0, 3), error
        assert json.loads(said)["complete"] == (copying.returncode == 0)
        run("copy", source, destination, "--sequencer", 0, "--resume")
        found = bare(read_all(copied))
        if kind == "kafka":  # a broker that was killed may store what it got again a second time
            found = list(dict.fromkeys(found))
        assert found == bare(read_all(there))


def start_copy(source: str, destination: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, "buffer", "copy", source, destination, "--sequencer", "all", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
