"""The router as a process over the file buffer: it starts, stops in order, stops at once, and says why it cannot."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from common.entry import decode
from tests.support.ports import free_ports
from tests.support.wait import wait_until
from writebuffer.connect import connect

RUN = """
import json, sys
from common.values.config import ClusterConfig, RetentionConfig, RouterConfig
from common.values.errors import PenstockError
from router.main import run
try:
    cluster, config = ClusterConfig(**json.loads(sys.argv[1])), RouterConfig(**json.loads(sys.argv[2]))
    sys.exit(run(cluster, config, RetentionConfig()))
except PenstockError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""


DYING = """
from common.values.errors import DataCorrupt
from writebuffer.errors import WriterDied
from writebuffer.file.writer import FileWriter

def append_many(self, sequencer, records):
    raise {kind}("nothing is written any more")

FileWriter.append_many = append_many
"""


class RouterProcess:
    """`python -c` that calls router.main.run; killed at the end of the test if it still runs."""

    def __init__(self, data: Path, prepare: str = "", **options: object) -> None:
        """prepare: code that runs first."""
        self.port = int(str(options.pop("port", 0))) or free_ports(1)[0]
        command = [sys.executable, "-c", prepare + RUN, json.dumps({"data": str(data)})]
        self.process = subprocess.Popen(
            [*command, json.dumps({"port": self.port, **options})], stderr=subprocess.PIPE, text=True
        )

    def request(self, method: str, path: str, body: bytes = b"") -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            return connection.getresponse().status
        finally:
            connection.close()

    def await_ready(self) -> "RouterProcess":
        wait_until(lambda: self.request("GET", "/ready"), holds=lambda status: status == 200, what="/ready")
        return self

    def await_end(self, timeout_s: float = 30) -> tuple[int, str]:
        """Exit code and what it said."""
        _, said = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, said


@pytest.fixture
def processes() -> Iterator[list[RouterProcess]]:
    started: list[RouterProcess] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stderr is not None
        one.process.stderr.close()


def values_in(data: Path) -> list[float]:
    """Field f of every durable row."""
    reader = connect(f"file://{data}/log").open_reader()
    values = []
    for sequencer in reader.sequencers():
        cursor = reader.cursor(sequencer)
        while records := cursor.poll(1000, 10_000_000, 0).records:
            values += [
                value
                for one in records
                for batch in decode(one.record.payload).tables.values()
                for value in batch.column("f").to_pylist()
            ]
        cursor.close()
    reader.close()
    return values


def test_sigterm_answers_what_is_in_flight_and_loses_nothing_acknowledged(
    tmp_path: Path, processes: list[RouterProcess]
) -> None:
    """Under load SIGTERM ends the router with code 0, and exactly the acknowledged writes are in the log."""
    router = RouterProcess(tmp_path).await_ready()
    processes.append(router)
    acknowledged: list[float] = []
    unanswered: list[float] = []

    def write(worker: int) -> None:
        for number in range(10_000):
            value = float(worker * 10_000 + number)
            try:
                status = router.request("POST", "/api/v2/write?bucket=ns", f"m,w={worker} f={value}".encode())
            except (OSError, HTTPException):
                unanswered.append(value)
                return
            if status != 204:
                return
            acknowledged.append(value)

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    wait_until(lambda: len(acknowledged), holds=lambda count: count > 40)
    router.process.send_signal(signal.SIGTERM)
    code, said = router.await_end()
    for worker in workers:
        worker.join()
    assert code == 0, said
    stored = values_in(tmp_path)
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored) <= set(acknowledged) | set(unanswered)


def test_a_second_signal_stops_at_once(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """While a stalled upload holds the stop up, a second SIGTERM ends the process without waiting."""
    router = RouterProcess(tmp_path, shutdown_timeout_s=60.0).await_ready()
    processes.append(router)
    with socket.create_connection(("127.0.0.1", router.port)) as stalled:
        stalled.sendall(b"POST /api/v2/write?bucket=ns HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nm f")
        wait_until(lambda: in_flight_bytes(router), holds=lambda held: held == 9)
        router.process.send_signal(signal.SIGTERM)
        wait_until(lambda: accepts(router.port), holds=lambda accepting: not accepting)
        assert router.process.poll() is None
        router.process.send_signal(signal.SIGTERM)
        code, _ = router.await_end()
    assert code == 128 + signal.SIGTERM


def test_a_parse_does_not_hold_the_stop_up(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """SIGTERM while a body is parsed that takes far longer than the shutdown timeout: its writer is asked to come back,
    and the process is gone soon after the timeout, in order."""
    body = b"t a=1\n" * 4_000_000
    router = RouterProcess(
        tmp_path, shutdown_timeout_s=0.5, body_bytes_max=len(body), in_flight_bytes_max=len(body)
    ).await_ready()
    processes.append(router)
    answers: list[int] = []
    writer = threading.Thread(target=lambda: answers.append(router.request("POST", "/api/v2/write?bucket=ns", body)))
    writer.start()
    wait_until(lambda: in_flight_bytes(router), holds=lambda held: held == len(body))
    router.process.send_signal(signal.SIGTERM)
    code, said = router.await_end(timeout_s=8)
    writer.join()
    assert code == 0, said
    assert answers == [503]
    assert "Traceback" not in said
    assert values_in(tmp_path) == []


@pytest.mark.parametrize("kind", ["WriterDied", "DataCorrupt"])
def test_a_router_whose_writer_is_gone_ends_with_its_error(
    tmp_path: Path, processes: list[RouterProcess], kind: str
) -> None:
    """A write buffer that accepts no more appends ends the process, so that its supervisor starts another."""
    router = RouterProcess(tmp_path, DYING.format(kind=kind)).await_ready()
    processes.append(router)
    assert router.request("POST", "/api/v2/write?bucket=ns", b"m f=1") in (500, 503)
    code, said = router.await_end()
    assert code == 1
    assert f"{kind}: nothing is written any more" in said


def in_flight_bytes(router: RouterProcess) -> int:
    connection = HTTPConnection("127.0.0.1", router.port, timeout=20)
    connection.request("GET", "/status")
    status = json.loads(connection.getresponse().read())
    connection.close()
    return int(status["body_bytes_in_flight"])


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_in_use_is_said_with_the_option_that_changes_it(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """Another listener on the port: the process exits, naming port and option, and has not touched the log."""
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        router = RouterProcess(tmp_path, port=occupied.getsockname()[1])
        processes.append(router)
        code, said = router.await_end()
    assert code == 1
    assert f"port {router.port} on 127.0.0.1 is in use" in said
    assert "--port" in said
    assert not (tmp_path / "log").exists()


def test_a_log_held_by_another_router_is_said_with_its_pid(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """A second router on the same log exits with the holder's pid; the first goes on."""
    first = RouterProcess(tmp_path).await_ready()
    processes.append(first)
    second = RouterProcess(tmp_path)
    processes.append(second)
    code, said = second.await_end()
    assert code == 1
    assert "HeldByAnother" in said
    assert str(first.process.pid) in said
    assert first.request("POST", "/api/v2/write?bucket=ns", b"m f=1") == 204


def test_a_restarted_router_goes_on_where_the_log_ends(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """After SIGKILL the next router on the same folder takes writes, and all that was acknowledged is there once."""
    for value in (1, 2):
        router = RouterProcess(tmp_path).await_ready()
        processes.append(router)
        assert router.request("POST", "/api/v2/write?bucket=ns", f"m f={value} {value}".encode()) == 204
        router.process.kill()
        router.process.wait()
    assert sorted(values_in(tmp_path)) == [1.0, 2.0]
