"""The embedded cluster's supervisor over stub children: real processes, real signals, no router or ingester."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.values.config import ClusterConfig
from common.values.errors import Misconfigured
from penstock.cluster import data_folder as datafolder
from penstock.cluster.existing import open_cluster
from penstock.terminal import exit_codes
from tests.support.ports import free_ports
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]


class StubCluster:
    """A supervisor process over `router` and two ingesters, all stubs, and what they wrote."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal"
        self.journal.touch()
        self._log = folder / "stderr"
        ports = free_ports(3)
        names = ("router", "ingester-0", "ingester-1")
        self.specs: dict[str, dict[str, Any]] = {
            name: {"name": name, "port": port, "journal": str(self.journal)}
            for name, port in zip(names, ports, strict=True)
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "StubCluster":
        stages = [[self.specs["router"]], [self.specs["ingester-0"], self.specs["ingester-1"]]]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.stub_cluster", json.dumps(stages)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        return self

    def start_ready(self) -> "StubCluster":
        self.start()
        wait_until(lambda: self.log.count(" is ready"), holds=lambda ready: ready == 3, what="three ready children")
        return self

    @property
    def log(self) -> str:
        return self._log.read_text()

    def notes(self, what: str) -> list[tuple[str, int]]:
        """(name, pid) of all that started or stopped, in order."""
        lines = [line.split() for line in self.journal.read_text().splitlines()]
        return [(name, int(pid)) for name, noted, pid in lines if noted == what]

    def pid(self, name: str) -> int:
        return [pid for started, pid in self.notes("started") if started == name][-1]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(timeout=30)

    def end(self) -> None:
        """Leave no process running, also after a failed test."""
        pids = [pid for _, pid in self.notes("started")]
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=30)
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[StubCluster]:
    stub = StubCluster(tmp_path)
    yield stub
    stub.end()


def alive(pid: int) -> bool:
    """Whether a stub child runs under that pid (zombies and strangers do not count)."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "tests.support.stub_child" in process.cmdline()
    except psutil.Error:
        return False


def test_all_children_start_and_are_announced_once(cluster: StubCluster) -> None:
    """When every child answers /ready, the announcement comes, and the log carries each child's lines by name."""
    cluster.start_ready()
    assert cluster.process is not None
    assert cluster.process.stdout is not None
    assert cluster.process.stdout.readline() == "READY\n"
    assert "ingester-1 | serving" in cluster.log
    assert "router     | serving" in cluster.log


def test_ctrl_c_stops_the_router_before_the_ingesters(cluster: StubCluster) -> None:
    """An ordered stop ends stage after stage and exits with 0."""
    cluster.start_ready()
    cluster.signal(signal.SIGINT)
    assert cluster.wait() == 0, cluster.log
    stopped = [name for name, _ in cluster.notes("stopped")]
    assert stopped[0] == "router"
    assert sorted(stopped[1:]) == ["ingester-0", "ingester-1"]
    assert "the verdict" in cluster.log.splitlines()[-1]


def test_a_child_that_was_killed_is_started_again(cluster: StubCluster) -> None:
    """After SIGKILL of one child the others go on, and it comes back under a new pid and is ready again."""
    cluster.start_ready()
    router, before = cluster.pid("router"), cluster.pid("ingester-0")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: cluster.log.count("ingester-0 is ready"), holds=lambda ready: ready == 2, what="a second life")
    assert cluster.pid("ingester-0") != before
    assert alive(router)
    assert "ingester-0 was ended by SIGKILL; starts again in 0.5 s" in cluster.log


def test_children_stop_when_the_supervisor_is_killed(cluster: StubCluster) -> None:
    """SIGKILL of the supervisor leaves no process running: each child sees its stdin end and stops in order."""
    cluster.start_ready()
    pids = [pid for _, pid in cluster.notes("started")]
    cluster.signal(signal.SIGKILL)
    cluster.wait()
    wait_until(lambda: [pid for pid in pids if alive(pid)], holds=lambda left: not left, what="the end of all children")
    assert len(cluster.notes("stopped")) == 3


def test_a_child_that_does_not_stop_ends_soon_after_a_killed_supervisor(cluster: StubCluster) -> None:
    """Its ordered stop is bounded as the supervisor would have bounded it."""
    cluster.specs["router"] |= {"deaf": True, "stop_timeout_s": 0.3}
    cluster.start_ready()
    pids = [pid for _, pid in cluster.notes("started")]
    cluster.signal(signal.SIGKILL)
    cluster.wait()
    wait_until(lambda: [pid for pid in pids if alive(pid)], holds=lambda left: not left, what="the end of all children")
    assert sorted(name for name, _ in cluster.notes("stopped")) == ["ingester-0", "ingester-1"]


def test_a_child_that_refuses_its_settings_stops_the_cluster_with_its_reason(cluster: StubCluster) -> None:
    """Exit code 2 right at the start is final: the rest is stopped, and the reason is the cluster's."""
    cluster.specs["ingester-1"]["exit"] = 2
    cluster.start()
    assert cluster.wait() == 2
    assert "ingester-1 cannot start: penstock: error: this stub refuses its settings" in cluster.log
    assert not any(alive(pid) for _, pid in cluster.notes("started"))


def test_a_child_that_does_not_stop_is_killed_after_its_time(cluster: StubCluster) -> None:
    """A stop is bounded: SIGKILL follows, is said, and makes the exit code 1."""
    cluster.specs["router"] |= {"deaf": True, "stop_timeout_s": 0.3}
    cluster.start_ready()
    cluster.signal(signal.SIGTERM)
    assert cluster.wait() == 1
    assert "router is killed: it did not stop in 0.3 s" in cluster.log
    assert sorted(name for name, _ in cluster.notes("stopped")) == ["ingester-0", "ingester-1"]


def test_a_stop_while_children_are_starting_is_in_order_too(cluster: StubCluster) -> None:
    """A child without a signal handler yet is ended by SIGTERM, which is no failure of the stop."""
    cluster.start()
    wait_until(lambda: "ingester-1 started" in cluster.log, what="the start of the last child")
    cluster.signal(signal.SIGTERM)
    assert cluster.wait() == 0, cluster.log
    assert not any(alive(pid) for _, pid in cluster.notes("started"))


def test_a_child_on_its_way_back_is_not_started_after_a_stop(cluster: StubCluster) -> None:
    """A stop during the pause before a restart ends the pause, not the restart."""
    cluster.start_ready()
    os.kill(cluster.pid("ingester-0"), signal.SIGKILL)
    wait_until(lambda: "ingester-0 was ended by SIGKILL; starts again" in cluster.log, what="the pause")
    cluster.signal(signal.SIGTERM)
    assert cluster.wait() == 0, cluster.log
    assert [name for name, _ in cluster.notes("started")].count("ingester-0") == 1


@pytest.mark.parametrize("code", [exit_codes.UNAVAILABLE, exit_codes.FENCED, exit_codes.CORRUPT])
def test_a_stop_while_a_child_keeps_failing_ends_with_its_code(cluster: StubCluster, code: int) -> None:
    """A child that waits for its restart after an error did not stop in order: a script must not read success."""
    cluster.specs["ingester-0"]["fails"] = code
    cluster.start_ready()
    os.kill(cluster.pid("ingester-0"), signal.SIGUSR1)
    wait_until(lambda: f"ingester-0 exited with {code}" in cluster.log, what="the failure")
    cluster.signal(signal.SIGTERM)
    assert cluster.wait() == code, cluster.log


def test_a_second_ctrl_c_kills_at_once(cluster: StubCluster) -> None:
    """A second signal does not wait for a child that will not stop."""
    for spec in cluster.specs.values():
        spec["deaf"] = True
    cluster.start_ready()
    cluster.signal(signal.SIGINT)
    wait_until(lambda: "a second signal kills all at once" in cluster.log, what="the first signal")
    cluster.signal(signal.SIGINT)
    assert cluster.wait() == 130
    assert not any(alive(pid) for _, pid in cluster.notes("started"))


def test_a_folder_that_is_held_says_by_whom_and_since_when(tmp_path: Path) -> None:
    """A second holder is refused with the first one's pid and start; after the first has gone it is let in."""
    with datafolder.held(tmp_path, 1_700_000_000 * 10**9):
        with pytest.raises(Misconfigured, match=f"pid {os.getpid()} since 2023-11-14T22:13:20") as refused:
            with datafolder.held(tmp_path, 0):
                pass
        assert str(tmp_path) in str(refused.value)
    with datafolder.held(tmp_path, 0):
        pass


def test_a_data_folder_without_a_parent_is_refused(tmp_path: Path) -> None:
    """`up` makes its folder, but not what should have been above it: a typing error there must not become a cluster."""
    assert datafolder.make(ClusterConfig(data=str(tmp_path / "new"))).is_dir()
    with pytest.raises(Misconfigured, match="does not exist; make it first, or correct --data"):
        datafolder.make(ClusterConfig(data=str(tmp_path / "none" / "below")))
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="a file is there"):
        datafolder.make(ClusterConfig(data=str(tmp_path / "file")))


def test_a_data_folder_that_this_user_may_not_look_into_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is looked for, to begin a cluster or to read one; it is not called missing."""

    def stat(path: Path, **more: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", stat)
    config = ClusterConfig(data=str(tmp_path / "data"))
    for look in (lambda: datafolder.is_there(config.data_folder), lambda: open_cluster(config)):
        with pytest.raises(
            Misconfigured, match=r"/data: Permission denied; run this command as a user who may read it"
        ):
            look()
