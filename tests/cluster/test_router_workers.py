"""A real router whose workers die, hang or break: a request is answered once, and acknowledged rows are durable."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.test_router_process import RouterProcess, values_in
from tests.support.wait import wait_until

ODD = """
from router.workers import process
process.WORKER = "tests.support.odd_worker"
"""
"""Workers that a line can kill (tests/support/odd_worker.py)."""


@pytest.fixture
def processes() -> Iterator[list[RouterProcess]]:
    started: list[RouterProcess] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stderr is not None
        one.process.stderr.close()


def status(router: RouterProcess) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", router.port, timeout=20)
    try:
        connection.request("GET", "/status")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
        return found
    finally:
        connection.close()


def workers(router: RouterProcess) -> list[int]:
    """Their process ids, by slot."""
    return [figures["pid"] for figures in status(router)["workers"].values()]


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_killed_workers_cost_no_acknowledged_row_and_hang_no_request(
    tmp_path: Path, processes: list[RouterProcess]
) -> None:
    """Under load, workers are killed again and again: each write gets one answer, 204 or an error that says to send it
    again, and exactly the acknowledged rows are in the log, once."""
    router = RouterProcess(tmp_path, parsers=2).await_ready()
    processes.append(router)
    ended = threading.Event()
    answers: dict[float, int] = {}

    def write(client: int) -> None:
        number = 0
        while not ended.is_set():
            value = float(client * 1_000_000 + number)
            lines = f"m,w={client} f={value} {1 + number}\n" + f"# {'x' * 100}\n" * 500
            answers[value] = router.request("POST", "/api/v2/write?bucket=ns", lines.encode())
            number += 1

    clients = [threading.Thread(target=write, args=(client,)) for client in range(4)]
    for client in clients:
        client.start()
    rng = random.Random(1)
    for kills in range(1, 9):
        before = len(answers)
        wait_until(lambda before=before: len(answers), holds=lambda count, before=before: count > before + 5)  # type: ignore[misc]
        os.kill(rng.choice(workers(router)), signal.SIGKILL)
        wait_until(
            lambda: sum(one["restarts"] for one in status(router)["workers"].values()),
            holds=lambda restarts, kills=kills: restarts == kills,  # type: ignore[misc]
        )
    ended.set()
    for client in clients:
        client.join(timeout=60)
        assert not client.is_alive()
    router.process.send_signal(signal.SIGTERM)
    code, said = router.await_end()
    assert code == 0, said
    assert said.count("a worker was ended by SIGKILL") == 8
    assert set(answers.values()) <= {204, 500}
    acknowledged = sorted(value for value, answer in answers.items() if answer == 204)
    assert sorted(values_in(tmp_path)) == acknowledged
    assert len(acknowledged) > 0.9 * len(answers)


def test_a_body_that_kills_its_worker_costs_the_others_nothing(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """It is answered 500, its neighbours 204, and the router goes on; one that kills its worker once is stored."""
    router = RouterProcess(tmp_path, ODD, parsers=1, batch_bytes_max=10_000_000).await_ready()
    processes.append(router)
    bodies = [f"m,n={n} f={n}.0 {n + 1}".encode() for n in range(20)]
    bodies[7] += b"\n# die=1"
    answers: dict[int, int] = {}

    def write(number: int) -> None:
        answers[number] = router.request("POST", "/api/v2/write?bucket=ns", bodies[number])

    clients = [threading.Thread(target=write, args=(number,)) for number in range(len(bodies))]
    for client in clients:
        client.start()
    for client in clients:
        client.join(timeout=60)
    assert {number for number, answer in answers.items() if answer != 204} == {7}
    assert answers[7] == 500
    assert sorted(values_in(tmp_path)) == [float(n) for n in range(20) if n != 7]
    found = status(router)
    assert found["workers"]["0"]["restarts"] == 2
    assert found["ready"]
    once = f'm f=20.0 21\n# die_once="{tmp_path}/died"'.encode()
    assert router.request("POST", "/api/v2/write?bucket=ns", once) == 204
    assert status(router)["workers"]["0"]["restarts"] == 3


def test_a_hanging_worker_is_replaced_after_its_request_was_answered(
    tmp_path: Path, processes: list[RouterProcess]
) -> None:
    """503 at the deadline; a few seconds later the next write is stored."""
    router = RouterProcess(tmp_path, ODD, parsers=1, append_timeout_s=20.0).await_ready()
    processes.append(router)
    assert router.request("POST", "/api/v2/write?bucket=ns", b"m f=1") == 204
    (before,) = workers(router)
    impatient = RouterProcess(tmp_path / "other", ODD, parsers=1, append_timeout_s=0.5).await_ready()
    processes.append(impatient)
    wait_until(
        lambda: impatient.request("POST", "/api/v2/write?bucket=ns", b"m f=1"), holds=lambda answer: answer == 204
    )
    assert impatient.request("POST", "/api/v2/write?bucket=ns", b"m f=1\n# hang=1") == 503
    wait_until(lambda: status(impatient)["workers"]["0"]["restarts"], holds=lambda restarts: restarts == 1)
    wait_until(
        lambda: impatient.request("POST", "/api/v2/write?bucket=ns", b"m f=2"), holds=lambda answer: answer == 204
    )
    assert workers(router) == [before]


@pytest.mark.parametrize("body", [b"m f=1", b"m f=1\n# hang=1", b"m f=1\n# stuck=1"], ids=["idle", "hanging", "stuck"])
def test_no_worker_outlives_a_killed_router(tmp_path: Path, processes: list[RouterProcess], body: bytes) -> None:
    """SIGKILL of the router, whatever its workers do."""
    router = RouterProcess(tmp_path, ODD, parsers=2).await_ready()
    processes.append(router)
    found = workers(router)
    writer = threading.Thread(target=lambda: ask(router, body), daemon=True)
    writer.start()
    wait_until(lambda: status(router)["body_bytes_in_flight"] or status(router)["requests_stored"])
    router.process.kill()
    router.process.wait()
    wait_until(lambda: gone(found), timeout_s=10, what="the workers' end")
    writer.join(timeout=20)


def test_a_stop_with_busy_workers_is_in_order_and_leaves_none(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """One worker hangs, the other parses: the first one's writer is asked to come back at the shutdown timeout."""
    router = RouterProcess(tmp_path, ODD, parsers=2, shutdown_timeout_s=5.0).await_ready()
    processes.append(router)
    found = workers(router)
    answers: dict[bytes, int] = {}
    bodies = [b"m f=1\n# hang=1", b"m f=2\n" + b"# x\n" * 10_000]

    def write(body: bytes) -> None:
        answers[body] = router.request("POST", "/api/v2/write?bucket=ns", body)

    clients = [threading.Thread(target=write, args=(body,)) for body in bodies]
    for client in clients:
        client.start()
        wait_until(lambda: status(router)["batches_in_flight"] or len(answers))
    wait_until(lambda: status(router)["body_bytes_in_flight"] > len(bodies[0]) or len(answers))
    router.process.send_signal(signal.SIGTERM)
    code, said = router.await_end(timeout_s=20)
    for client in clients:
        client.join(timeout=20)
    assert code == 0, said
    assert answers == {bodies[0]: 503, bodies[1]: 204}
    assert gone(found)
    assert "Traceback" not in said


def test_ctrl_c_in_a_terminal_reaches_the_router_alone(tmp_path: Path, processes: list[RouterProcess]) -> None:
    """The signal goes to the foreground's process group, in which no worker is."""
    router = RouterProcess(tmp_path, parsers=2).await_ready()
    processes.append(router)
    assert {os.getpgid(pid) for pid in workers(router)} == set(workers(router))


def ask(router: RouterProcess, body: bytes) -> None:
    """A write whose answer may be lost."""
    try:
        router.request("POST", "/api/v2/write?bucket=ns", body)
    except OSError:
        time.sleep(0)
