"""The suite's processes of their own: they open the buffer that is proven, passwords included, and print only
their own lines."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.redis_server import RedisServer, why_not
from writebuffer.conformance.child import Child, line_of
from writebuffer.conformance.samples import records
from writebuffer.conformance.subject import Subject
from writebuffer.contract import Reader
from writebuffer.file import FileBackend

PASSWORD = "s3cr@t/1?"
QUOTED = "s3cr%40t%2F1%3F"
OPENED_AGAIN = ("killed", "identity", "creation", "offsets", "never_reused", "trim", "powers")
"""The groups that open a buffer in another process, or once more."""


class Talkative(FileBackend):
    """Prints and logs whenever it is opened."""

    def __init__(self, url: str) -> None:
        super().__init__(url.removeprefix("talkative:"))

    def beside(self, name: str) -> "Talkative":
        return Talkative(f"talkative:{self._folder}-{name}")

    def open_reader(self) -> Reader:  # type: ignore[override]
        print("1 2 3")
        structlog.get_logger().info("opened", folder=self._folder)
        return super().open_reader()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that asks for a password."""
    if reason := why_not():
        pytest.skip(reason)
    server = RedisServer(tmp_path, password=PASSWORD)
    server.start()
    yield server
    server.stop()


def test_a_server_with_a_password_is_proven(guarded: RedisServer) -> None:
    """Every process gets in, and neither the report nor what the suite says besides shows the password."""
    url = f"redis://:{QUOTED}@127.0.0.1:{guarded.port}/0?stream={uuid.uuid4().hex}"
    command = [sys.executable, "-m", "penstock", "conformance", url, "--json"]
    command += [word for group in OPENED_AGAIN for word in ("--group", group)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert found.stdout, found.stderr
    (report,) = json.loads(found.stdout)["write_buffers"]
    cases = [case for group in report["groups"] for case in group["cases"]]
    assert [(case["name"], case["reason"]) for case in cases if case["outcome"] == "failed"] == []
    not_run = [case["reason"] for case in cases if case["outcome"] == "not run"]
    assert not_run == ["the URL given holds a secret, which `url` does not show"]
    assert {group["group"] for group in report["groups"]} == set(OPENED_AGAIN)
    assert QUOTED not in found.stdout + found.stderr
    assert PASSWORD not in found.stdout + found.stderr
    with guarded.client() as client:
        assert client.keys() == []


def test_a_child_prints_its_lines_and_nothing_of_a_backend(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a backend prints or logs comes on standard error; a log line names the process."""
    subject = Subject(f"talkative:{tmp_path}/log", f"{__name__}:Talkative")
    backend = subject.beside("proof")
    backend.create(1)
    writer = backend.open_writer()
    sent = records(range(3))
    offsets = [writer.append(writer.sequencers()[0], one).result(10).offset for one in sent]
    writer.close()
    printed = Child(subject, "read", "proof").rest_of_lines()
    assert printed == [line_of(offset, one) for offset, one in zip(offsets, sent, strict=True)]
    said = capfd.readouterr().err
    assert "1 2 3\n" in said
    assert "process=conformance-read" in said
    assert "event=opened" in said


def test_a_subject_shows_no_password() -> None:
    """Neither as text nor in a traceback's arguments; whether there is one is known."""
    subject = Subject("redis://:hush@127.0.0.1:1/0")
    assert "hush" not in f"{subject} {subject!r}"
    assert subject.is_secret
    assert not Subject("redis://127.0.0.1:1/0").is_secret
