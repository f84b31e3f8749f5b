"""The ports of an embedded cluster, and what is said when they cannot be had."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.values.config import IngesterConfig, RouterConfig
from common.values.errors import Misconfigured
from penstock.cli import cli
from penstock.cluster import ports
from tests.support.ports import free_ports


@pytest.mark.parametrize("host", ["nosuch.invalid", "8.8.8.8"])
def test_a_host_that_is_not_this_machines_is_named_with_its_setting(host: str) -> None:
    """No port is at fault, so none is spoken of."""
    with pytest.raises(Misconfigured, match=rf"host '{host}' is no address of this machine .*: correct --host \(or"):
        ports.settle(4, RouterConfig(host=host), IngesterConfig(host=host))


def test_a_port_asked_for_twice_names_both_settings() -> None:
    """A router inside the ingesters' block: either may give way."""
    first, *_ = free_ports(1)
    wanted = "is asked for twice, by --port and by --http-port (2 from"
    with pytest.raises(Misconfigured, match=re.escape(wanted)) as refused:
        ports.settle(2, RouterConfig(port=first), IngesterConfig(http_port=first, flight_port=0))
    assert "PENSTOCK_PORT, PENSTOCK_HTTP_PORT" in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [["--write-buffer", "kafka://x"], ["--store", "foo://x"], ["--host", "nosuch.invalid"]],
    ids=["write buffer", "store", "host"],
)
def test_what_is_refused_leaves_no_folder(wrong: list[str], tmp_path: Path) -> None:
    """A new folder is made once nothing is wrong with the settings, and the reason is reported once."""
    result = CliRunner().invoke(cli, ["up", "--data", str(tmp_path / "new"), *wrong])
    assert result.exit_code == 2
    assert result.stderr.startswith("penstock: error: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
