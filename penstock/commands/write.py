"""`penstock write`."""

import io
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from common.values.shown import counted
from penstock.terminal import exit_codes
from penstock.terminal.options import namespace_option, timeout_option, url_option

if TYPE_CHECKING:
    from penstock.writing.transfer import Outcome


@click.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@namespace_option
@url_option
@click.option(
    "--precision",
    type=click.Choice(["ns", "us", "ms", "s"]),
    default="ns",
    show_default=True,
    help="Unit of the timestamps in FILE.",
)
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(file: BinaryIO, namespace: str, url: str, precision: str, timeout_s: float, as_json: bool) -> None:
    """Send line protocol from FILE, or from stdin with `-`; either may be gzip.

    Goes in compressed batches of up to 1 MB, each acknowledged once it is durable. Refused lines are printed with their
    line numbers and reasons, and make the exit code 1; all other lines are stored.
    """
    from common.values.clock import SystemClock
    from penstock.terminal.progress import Progress
    from penstock.writing.client import WriteClient
    from penstock.writing.transfer import Outcome, RetryNotes, is_gzip, send, unzipped

    outcome = Outcome()
    size = _size(file)
    lines = io.BufferedReader(cast(Any, file))
    packed = is_gzip(lines)
    try:
        with Progress("B", None if packed else size) as bar:
            client = WriteClient(
                url,
                namespace,
                precision=precision,
                timeout_s=timeout_s,
                on_retry=RetryNotes(url, bar.say, SystemClock()),
            )
            send(
                unzipped(lines) if packed else lines,
                client.write,
                outcome,
                on_sent=bar.advance,
                on_refused=lambda refused: bar.say(f"{file.name}:{refused.line}: {refused.reason}"),
            )
    finally:
        _report(outcome, as_json)
    sys.exit(exit_codes.FAILED if outcome.refused_count else exit_codes.OK)


def _size(file: BinaryIO) -> int | None:
    """Bytes left to read; None for a pipe, whose end is not known."""
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def _report(outcome: "Outcome", as_json: bool) -> None:
    import json

    if as_json:
        refused = [{"line": line.line, "reason": line.reason} for line in outcome.refused]
        figures = {
            name: getattr(outcome, name)
            for name in ("rows", "refused_count", "dropped_count", "lines", "bytes", "batches")
        }
        click.echo(json.dumps({**figures, "refused": refused, "token": outcome.token}))
        return
    refused_rows = f", {outcome.refused_count:,} refused" if outcome.refused_count else ""
    left_out = f", {counted(outcome.dropped_count, 'field')} left out" if outcome.dropped_count else ""
    rows, lines = counted(outcome.rows, "row"), counted(outcome.lines, "line")
    click.echo(f"{rows} written{refused_rows}{left_out}; {lines} read")
    if outcome.token:
        click.echo(f"write token {outcome.token}")
