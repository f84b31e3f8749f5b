"""Options made from the settings: precedence, help, messages."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from common.values.config import ClusterConfig, IngesterConfig, RouterConfig
from penstock.cli import LazyGroup, cli
from penstock.terminal.options import SectionedCommand, settings


@click.command(cls=SectionedCommand)
@settings(ClusterConfig, RouterConfig, IngesterConfig)
@click.option("--own", default="mine", help="An option of the command itself.")
def show(cluster: ClusterConfig, router: RouterConfig, ingester: IngesterConfig, own: str) -> None:
    """Show."""
    click.echo(
        f"{cluster.sequencers} {router.port} {router.host} {ingester.host} {ingester.soft_memory_bytes} "
        f"{ingester.accept_loss} {own}"
    )


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "penstock.toml"
    path.write_text('sequencers = 7\nport = 7007\nhost = "127.0.0.7"\n')
    return str(path)


def invoke(monkeypatch: pytest.MonkeyPatch, *arguments: str, env: dict[str, str] | None = None) -> Result:
    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: show)
    return CliRunner().invoke(cli, ["show", *arguments], env=env or {})


def test_nothing_given_is_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without flags, variables and a file the dataclasses' defaults hold."""
    assert invoke(monkeypatch).output == f"4 8086 127.0.0.1 127.0.0.1 {512 * 2**20} False mine\n"


def test_flag_over_variable_over_file_over_default(monkeypatch: pytest.MonkeyPatch, config_file: str) -> None:
    """Each setting comes from the nearest of flag, variable, file and default, wherever the others come from."""
    env = {"PENSTOCK_PORT": "6006", "PENSTOCK_HOST": "127.0.0.6"}
    result = invoke(monkeypatch, "--config", config_file, "--host", "127.0.0.5", env=env)
    assert result.output.split()[:4] == ["7", "6006", "127.0.0.5", "127.0.0.5"]


def test_the_file_can_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, config_file: str) -> None:
    """PENSTOCK_CONFIG is the same as --config."""
    assert invoke(monkeypatch, env={"PENSTOCK_CONFIG": config_file}).output.split()[0] == "7"


def test_sizes_and_switches_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size takes a unit; a switch has a yes and a no form, and the no form wins over a variable."""
    result = invoke(monkeypatch, "--soft-memory-bytes", "3MiB", "--no-accept-loss", env={"PENSTOCK_ACCEPT_LOSS": "yes"})
    assert result.output.split()[4:6] == [str(3 * 2**20), "False"]


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["--port", "eight"], {}, "--port: 'eight' is not a whole number"),
        ([], {"PENSTOCK_PORT": "eight"}, "PENSTOCK_PORT: 'eight' is not a whole number"),
        (["--sequencers", "0"], {}, "sequencers is 0: give 1 to 999"),
        (["--on-stop", "forget"], {}, "--on-stop: 'forget' is not one of persist, leave"),
        (["--config", "/none.toml"], {}, "config file /none.toml: No such file or directory"),
        (["--soft-memory-bytes", "2GiB"], {}, "is above hard_memory_bytes"),
        (["--log-bytes-max", "512KiB"], {}, "log_records_max 1000000 is above log_bytes_max 524288"),
    ],
)
def test_a_bad_setting_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], env: dict[str, str], message: str
) -> None:
    """A wrong value is refused with exit code 2, naming the flag, variable or file that holds it."""
    result = invoke(monkeypatch, *arguments, env=env)
    assert result.exit_code == 2
    assert message in result.stderr


def test_help_shows_default_variable_and_whose_setting_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are in sections by component, each with its variable and its default in readable units."""
    text = " ".join(invoke(monkeypatch, "--help").output.split())
    order = [text.index(part) for part in ("Options:", "Cluster:", "Router and ingester:", "Router:", "Ingester:")]
    assert order == sorted(order)
    assert "--soft-memory-bytes SIZE" in text
    assert "[env: PENSTOCK_SOFT_MEMORY_BYTES; default: 512MiB]" in text
    assert "--on-stop persist|leave" in text
    assert "--late-arrival-window-s SECONDS" in text


def test_help_of_a_rate_asks_for_no_seconds() -> None:
    """What counts per second, and a limit that is off, are shown as they are given."""
    text = " ".join(CliRunner().invoke(cli, ["router", "--help"]).output.split())
    assert "--client-requests-per-s N " in text
    assert "[env: PENSTOCK_CLIENT_BYTES_PER_S; default: 0]" in text
    assert "--row-age-max-s SECONDS " in text


def test_a_setting_a_command_has_no_use_for_is_left_out() -> None:
    """`without` takes an option away; the dataclass keeps its default."""

    @click.command()
    @settings(ClusterConfig, without=["sequencers"])
    def narrow(cluster: ClusterConfig) -> None:
        click.echo(str(cluster.sequencers))

    assert CliRunner().invoke(narrow, []).output == "4\n"
    assert CliRunner().invoke(narrow, ["--sequencers", "3"]).exit_code == 2


def test_arguments_are_no_options_in_help() -> None:
    """--help of a command with settings lists its argument in the usage line alone."""
    text = CliRunner().invoke(cli, ["query", "--help"]).output
    assert "Usage: cli query [OPTIONS] SQL\n" in text
    assert "\n  SQL\n" not in text


@pytest.mark.parametrize("group", ["buffer", "dead-letter", "schema"])
def test_a_group_shows_the_first_sentence_of_each_command_whole(group: str) -> None:
    """Also in a terminal of 80 columns."""
    output = CliRunner().invoke(cli, [group, "--help"], terminal_width=80).output
    commands = output.partition("Commands:")[2]
    assert commands.strip()
    assert "..." not in commands
