"""A variable that looks like a setting's is named in a warning; others are nobody's business."""

import pytest
from click.testing import CliRunner

from penstock.cli import cli
from penstock.cluster.process import SUPERVISED
from penstock.terminal.environment import misspelt

OF_KUBERNETES = [
    "PENSTOCK_SERVICE_HOST",
    "PENSTOCK_SERVICE_PORT",
    "PENSTOCK_SERVICE_PORT_HTTP",
    "PENSTOCK_PORT_8086_TCP",
    "PENSTOCK_PORT_8086_TCP_PROTO",
    "PENSTOCK_PORT_8086_TCP_PORT",
    "PENSTOCK_PORT_8086_TCP_ADDR",
    "PENSTOCK_ROUTER_PORT",
    "PENSTOCK_ROUTER_SERVICE_HOST",
    "PENSTOCK_INGESTER_PORT",
    "PENSTOCK_INGESTER_0_PORT",
]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PENSTOCK_PROT", "PENSTOCK_PORT"),
        ("PENSTOCK_PRT", "PENSTOCK_PORT"),
        ("PENSTOCK_DATTA", "PENSTOCK_DATA"),
        ("PENSTOCK_SEQUENCER", "PENSTOCK_SEQUENCERS"),
        ("PENSTOCK_WRITEBUFFER", "PENSTOCK_WRITE_BUFFER"),
        ("PENSTOCK_LATE_ARRIVAL_WINDOW", "PENSTOCK_LATE_ARRIVAL_WINDOW_S"),
        ("PENSTOCK_CONFG", "PENSTOCK_CONFIG"),
        ("PENSTOCK_NAMESPACES", "PENSTOCK_NAMESPACE"),
    ],
)
def test_a_near_miss_has_the_name_that_is_meant(name: str, nearest: str) -> None:
    """A letter that is missing, too many, or in another's place."""
    assert list(misspelt([name, "PENSTOCK_PORT", "PATH"])) == [(name, nearest)]


@pytest.mark.parametrize(
    "name", ["PENSTOCK_KAFKA_PASSWORD", "PENSTOCK_PASSWORD", "PENSTOCK_TOKEN", "PENSTOCK_S3_STORE_KEY", *OF_KUBERNETES]
)
def test_another_variable_is_let_be(name: str) -> None:
    """A password that a URL names, or what Kubernetes sets for services."""
    assert list(misspelt([name])) == []


def test_every_command_warns_and_works() -> None:
    """One line on stderr for each; the processes that `penstock up` starts do not repeat it."""
    environment = {"PENSTOCK_PROT": "1", "PENSTOCK_DATTA": "x", "PENSTOCK_SECRET": "y"}
    result = CliRunner().invoke(cli, ["status", "--data", "/nowhere"], env=environment)
    assert result.stderr.splitlines()[:2] == [
        "penstock: warning: the variable PENSTOCK_DATTA is no setting and is ignored: is PENSTOCK_DATA meant?",
        "penstock: warning: the variable PENSTOCK_PROT is no setting and is ignored: is PENSTOCK_PORT meant?",
    ]
    assert result.stderr.count("\n") == 3
    assert result.exit_code == 2
    supervised = CliRunner().invoke(cli, ["status", "--data", "/nowhere"], env=environment | {SUPERVISED: "1"})
    assert "warning" not in supervised.stderr
