"""What `penstock up` settles and refuses before it starts a process."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.catalog.cluster import found_or_join
from common.store.objects import run
from common.store.opening import open_store
from common.values.config import ClusterConfig, IngesterConfig, RetentionConfig, RouterConfig, resolve
from common.values.errors import Misconfigured
from penstock.cli import cli
from penstock.cluster import data_folder as datafolder
from penstock.cluster import embedded, ports
from penstock.cluster.welcome import welcome
from writebuffer.waiting import CLOSE_S_MAX, TRIM_STOP_S


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free() -> tuple[RouterConfig, IngesterConfig]:
    return RouterConfig(port=0), IngesterConfig(http_port=0, flight_port=0)


def test_a_port_of_0_becomes_a_free_one_for_each_process() -> None:
    """Every process gets a port of its own, known before it starts; each can be bound."""
    router, ingester = ports.settle(3, *free())
    blocks = [
        [router.port],
        range(ingester.http_port, ingester.http_port + 3),
        range(ingester.flight_port, ingester.flight_port + 3),
    ]
    found = [port for block in blocks for port in block]
    assert len(set(found)) == 7
    for port in found:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_a_used_port_names_itself_and_its_setting(used_port: int) -> None:
    """The message says which port, and which flag and variable change it, for an ingester's too."""
    router, ingester = free()
    with pytest.raises(
        Misconfigured, match=rf"port {used_port} on 127.0.0.1 is in use by another process.*--port .*PENSTOCK_PORT"
    ):
        ports.settle(1, RouterConfig(port=used_port), ingester)
    second = IngesterConfig(http_port=0, flight_port=used_port - 1)
    with pytest.raises(Misconfigured, match=r"--flight-port \(or PENSTOCK_FLIGHT_PORT"):
        ports.settle(2, router, second)


def test_two_processes_on_one_port_are_refused() -> None:
    """Blocks that overlap by their numbers are found before the second process would fail."""
    settled, _ = ports.settle(1, *free())
    with pytest.raises(Misconfigured, match=f"port {settled.port} is asked for twice"):
        ports.settle(1, settled, IngesterConfig(http_port=settled.port, flight_port=0))


def test_what_can_never_be_bound_is_refused() -> None:
    """A host that is none, or ports that run beyond the last, are settings to correct."""
    router, ingester = free()
    with pytest.raises(Misconfigured, match=r"host '256\.1\.2\.3' is no address of this machine .*: correct --host"):
        ports.settle(1, RouterConfig(host="256.1.2.3", port=0), ingester)
    with pytest.raises(Misconfigured, match=r"port 65536 on 127\.0\.0\.1: ports go from 1 to 65535"):
        ports.settle(3, router, IngesterConfig(http_port=65534, flight_port=0))


def test_children_get_the_resolved_settings_by_environment(tmp_path: Path) -> None:
    """A child resolves exactly the parent's settings, from flags, a file or variables."""
    cluster = ClusterConfig(data=str(tmp_path), sequencers=2)
    router, ingester = RouterConfig(port=9001), IngesterConfig(http_port=9100, on_stop="leave", accept_loss=True)
    environ = {"PATH": "/bin", "PENSTOCK_CONFIG": "x.toml", "PENSTOCK_PORT": "1", "PENSTOCK_SEQUENCERS": "7"}
    [[router_spec], ingester_specs] = embedded.stages(cluster, router, ingester, RetentionConfig(), environ)
    assert resolve(RouterConfig, {}, {}, router_spec.environ) == router
    assert resolve(ClusterConfig, {}, {}, router_spec.environ) == cluster
    assert [resolve(IngesterConfig, {}, {}, spec.environ) for spec in ingester_specs] == [ingester] * 2
    assert [list(spec.command[-3:]) for spec in ingester_specs] == [["ingester", "--sequencer", str(n)] for n in (0, 1)]
    assert [spec.ready_url for spec in ingester_specs] == [f"http://127.0.0.1:910{n}/ready" for n in (0, 1)]
    assert "PENSTOCK_CONFIG" not in router_spec.environ


def test_a_router_whose_write_buffer_hangs_may_still_stop_by_itself() -> None:
    """It is killed only after all that its stop may wait for: requests in flight, a trim, the close of its buffer."""
    router = RouterConfig(shutdown_timeout_s=7)
    [[spec], _] = embedded.stages(ClusterConfig(), router, IngesterConfig(), RetentionConfig(), {})
    assert spec.stop_timeout_s > 7 + TRIM_STOP_S + CLOSE_S_MAX


def test_the_welcome_names_real_ports_and_the_folder() -> None:
    """The commands to try work as they are: with the ports chosen, and --data where it is not the default."""
    router, ingester = RouterConfig(host="0.0.0.0", port=9001), IngesterConfig(http_port=9100, flight_port=9200)
    text = welcome(ClusterConfig(data="/tmp/my data", sequencers=3), router, ingester)
    assert "curl -i 'http://127.0.0.1:9001/api/v2/write?bucket=metrics'" in text
    assert "http://127.0.0.1:9100-9102" in text
    assert "--namespace metrics --data '/tmp/my data'\n" in text
    assert "penstock status --data '/tmp/my data'\n" in text
    plain = welcome(ClusterConfig(), router, ingester, ".venv/bin/penstock")
    assert "\n  .venv/bin/penstock status\n" in plain
    assert "\n  .venv/bin/penstock query " in plain


def up(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["up", "--port", "0", "--http-port", "0", "--flight-port", "0", *arguments])
    return result.exit_code, result.stderr


def test_up_on_a_held_folder_says_who_holds_it(tmp_path: Path) -> None:
    """A second cluster on one folder ends with exit code 2 before anything is started."""
    with datafolder.held(tmp_path, 0):
        code, error = up("--data", str(tmp_path))
    assert code == 2
    assert f"data folder {tmp_path} is held by another `penstock up`: pid " in error


def test_up_with_another_number_of_sequencers_says_the_way_out(tmp_path: Path) -> None:
    """The folder's own number is reported, and nothing is started."""
    (tmp_path / "store").mkdir()
    store = open_store(f"file://{tmp_path}/store")
    run(found_or_join(2, store.url), store)
    code, error = up("--data", str(tmp_path), "--sequencers", "5")
    assert code == 2
    assert "was made for 2 sequencers, asked for 5: start with --sequencers 2" in error


def test_up_with_a_port_in_use_starts_nothing(tmp_path: Path, used_port: int) -> None:
    """The port is found in use before a child is spawned, and the store is not made."""
    code, error = up("--data", str(tmp_path / "new"), "--port", str(used_port))
    assert code == 2
    assert f"port {used_port} on 127.0.0.1" in error
    assert not (tmp_path / "new" / "store").exists()


@pytest.mark.parametrize("command", [["up"], ["router"], ["ingester", "--sequencer", "0"]])
@pytest.mark.parametrize("setting", ["--write-buffer", "--store"])
@pytest.mark.parametrize("url", ["memory:", "memory:shared"])
def test_memory_is_refused_where_processes_share(tmp_path: Path, command: list[str], setting: str, url: str) -> None:
    """Each process would have its own, and what is acknowledged would be lost: the message gives the right forms."""
    data = tmp_path / "data"
    result = CliRunner().invoke(cli, [*command, "--data", str(data), setting, url])
    assert result.exit_code == 2
    assert f"{url!r} is each process's own" in result.stderr
    assert f"{setting} file:///absolute/path" in result.stderr
    assert not data.exists()


def test_up_below_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """--data with a missing parent is a typing error, not a wish for folders."""
    code, error = up("--data", str(tmp_path / "none" / "below"))
    assert code == 2
    assert f"{tmp_path / 'none'} does not exist" in error
