"""The command `penstock`: a group whose commands are loaded when they are called.

Importing this module imports click and nothing else that is slow, so that `penstock --help` answers at once. A command
lives in penstock/commands/<name>.py and exposes `command`. A PenstockError becomes one line on stderr and an exit code
that says who has to act (exit_codes.py).
"""

import importlib
import os
import sys
from typing import Any

import click

from common.values.errors import PenstockError
from penstock import __version__
from penstock.terminal import exit_codes
from penstock.terminal.stdout import OutputFailed, guard_stdout

COMMANDS = {
    "up": "Start a cluster on this machine: a router and an ingester for each sequencer.",
    "write": "Send line protocol from a file or stdin.",
    "query": "Run SQL over what is persisted and what is still in memory.",
    "status": "Show offsets, lag, buffered rows and files of each sequencer.",
    "schema": "Show the namespaces, tables and columns that are settled.",
    "replay": "Read a sequencer again and compare the store with it, or mend the store.",
    "dead-letter": "Look at records that could not be applied, and deal with them.",
    "fsck": "Check that the store holds what the manifests say: files, rows, accounts.",
    "gc": "Remove data files that no manifest names, or list them.",
    "log": "Look at the files of a file write buffer: inspect, verify, dump, size; salvage a damaged log.",
    "buffer": "Look at any write buffer, and copy records from one to another.",
    "load": "Send generated server metrics: rate, series and workers as asked.",
    "demo": "Write, query, crash and recover on a scratch cluster, and check each step.",
    "conformance": "Prove that a write buffer keeps the contract, group by group.",
    "router": "Run the router process alone.",
    "ingester": "Run the ingester process of one sequencer alone.",
}
"""Name and first line of help, in the order of --help: known here so that help imports no command."""

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"penstock.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            ctx.fail(f"No such command {args[0]!r}: did you mean {near[0]}?")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        _warn_of_misspelt_variables()
        try:
            return super().invoke(ctx)
        except PenstockError as error:
            report(error)
            ctx.exit(exit_codes.of(error))
        except KeyboardInterrupt:
            ctx.exit(exit_codes.INTERRUPTED)


def _warn_of_misspelt_variables() -> None:
    """Once: not again by the processes that `penstock up` starts."""
    if not any(name.startswith("PENSTOCK_") for name in os.environ):
        return
    from penstock.cluster.process import SUPERVISED
    from penstock.terminal.environment import misspelt

    if SUPERVISED in os.environ:
        return
    for name, nearest in misspelt(os.environ):
        click.echo(
            f"penstock: warning: the variable {name} is no setting and is ignored: is {nearest} meant?", err=True
        )


@click.group(cls=LazyGroup, epilog=exit_codes.EPILOG, context_settings=_CONTEXT)
@click.version_option(__version__, message="penstock %(version)s")
def cli() -> None:
    """A sharded ingest cluster for time-series writes, with a durable write buffer.

    Begin with `penstock up`; it prints what to try next.
    """


def main() -> None:
    """The console script."""
    try:
        guard_stdout()
        cli(prog_name="penstock")
    except OutputFailed as error:  # invoke is not reached with a closed stdout, and by --help
        report(error)
        sys.exit(exit_codes.FAILED)


def report(error: PenstockError) -> None:
    """One line on stderr."""
    click.echo(f"penstock: error: {error}", err=True)
