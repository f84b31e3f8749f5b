"""The command line's surface: help, lazy imports, exit codes."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from common.values.errors import DataCorrupt, Fenced, Forked, InvalidRequest, Misconfigured, Unavailable
from penstock.cli import COMMANDS, LazyGroup, cli
from penstock.terminal import exit_codes
from writebuffer.errors import OffsetTrimmed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_with_what_it_does(name: str) -> None:
    """`penstock NAME --help` opens with a sentence, documents every option, and fits a wide terminal."""
    result = CliRunner().invoke(cli, [name, "--help"], terminal_width=100)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].startswith(f"Usage: cli {name}")
    paragraph = result.output.split("\n\n")[1]
    assert paragraph.strip()[0].isupper()
    assert paragraph.rstrip().endswith((".", ":"))
    assert max(map(len, lines)) <= 100
    command = cli.get_command(cli.make_context("penstock", [name, "--help"], resilient_parsing=True), name)
    assert command is not None
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    undocumented = [option.name for option in options if not option.help]
    assert undocumented == []


def test_help_lists_commands_and_exit_codes_without_importing_a_command() -> None:
    """`penstock --help` names every command in one line each and the meaning of the exit codes."""
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name, summary in COMMANDS.items():
        assert name in result.output
        assert " ".join(summary.split()[:4]) in result.output
    assert "Exit codes:" in result.output
    assert "130  stopped by Ctrl-C" in result.output


def test_version_is_the_installed_one() -> None:
    """`penstock --version` says what pip says."""
    import importlib.metadata

    result = CliRunner().invoke(cli, ["--version"])
    assert result.output == f"penstock {importlib.metadata.version('penstock')}\n"


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    """`penstock --help` must answer at once: neither Arrow, numpy, a server nor any command is loaded for it."""
    code = (
        "import sys, penstock.cli;"
        "print([name for name in ('pyarrow', 'numpy', 'duckdb', 'uvicorn', 'asyncio', 'tqdm', 'structlog', 'obstore',"
        " 'penstock.terminal.options') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(name: str) -> None:
    """A command module imports click and settings at the top; what it works with is imported when it runs."""
    code = (
        f"import sys, penstock.commands.{name.replace('-', '_')};"
        "print([name for name in ('pyarrow', 'numpy', 'duckdb', 'uvicorn', 'asyncio', 'tqdm') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), 2),
        (Misconfigured("x"), 2),
        (Unavailable("x"), 3),
        (Fenced("x"), 4),
        (Forked("x"), 4),
        (DataCorrupt("x"), 5),
    ],
)
def test_an_error_is_one_line_and_the_code_of_who_has_to_act(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PenstockError reaches the caller as `penstock: error: …` on stderr, without a traceback."""
    _run_raising(monkeypatch, error)
    result = CliRunner().invoke(cli, ["broken"])
    assert result.exit_code == code
    assert result.stderr == "penstock: error: x\n"
    assert result.stdout == ""


def test_a_kind_of_error_has_the_code_of_its_group() -> None:
    """Errors below a group (here of the write buffer) need no code of their own."""
    assert exit_codes.of(OffsetTrimmed(0, 3, 7)) == exit_codes.USAGE  # type: ignore[arg-type]


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted command ends as shells expect, without a traceback."""
    _run_raising(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(cli, ["broken"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    """A misspelt command is refused with exit code 2 and the way to the help."""
    result = CliRunner().invoke(cli, ["upp"])
    assert result.exit_code == 2
    assert "No such command 'upp'" in result.output


def test_a_near_miss_is_answered_with_the_command_it_may_mean() -> None:
    """`penstock quary` is a usage error that names `query`; what is near to none gets no guess."""
    result = CliRunner().invoke(cli, ["quary"])
    assert result.exit_code == 2
    assert "No such command 'quary': did you mean query?" in result.output
    assert "did you mean" not in CliRunner().invoke(cli, ["xyz"]).output


def test_an_ingester_of_a_sequencer_that_is_not_there_is_refused() -> None:
    """--sequencer beyond the cluster's number is reported with the range."""
    result = CliRunner().invoke(cli, ["ingester", "--sequencer", "4", "--sequencers", "4"])
    assert result.exit_code == 2
    assert "--sequencer 4: the cluster has 4 sequencers (0..3)" in result.stderr


@pytest.mark.parametrize("name", ["status", "query", "replay"])
def test_looking_at_a_folder_that_is_not_there_says_how_to_start_a_cluster(name: str, tmp_path: object) -> None:
    """Commands that look at a cluster name the missing folder and the command that makes one."""
    arguments = {
        "status": [],
        "query": ["SELECT 1", "--namespace", "n"],
        "replay": ["--sequencer", "0", "--from-offset", "0", "--dry-run"],
    }
    result = CliRunner().invoke(cli, [name, *arguments[name], "--data", f"{tmp_path}/none"])
    assert result.exit_code == 2, result.output
    assert f"penstock up --data {tmp_path}/none" in result.stderr


def test_a_replay_that_ends_before_it_begins_is_refused(tmp_path: object) -> None:
    """--to-offset below --from-offset is reported with both; nothing is opened for it."""
    asked = ["replay", "--sequencer", "0", "--from-offset", "5", "--to-offset", "0", "--dry-run"]
    result = CliRunner().invoke(cli, [*asked, "--data", f"{tmp_path}/none"])
    assert result.exit_code == 2
    assert "--to-offset 0 is below --from-offset 5: give a higher one" in result.stderr


def _run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command("broken")
    def broken() -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: broken)
