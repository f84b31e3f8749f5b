"""`penstock load`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from common.values.shown import counted
from penstock.terminal import exit_codes
from penstock.terminal.options import checked_namespace, timeout_option, url_option

if TYPE_CHECKING:
    from penstock.writing.load import Plan, Send

_ROWS = 100_000
_DAY_NS = 24 * 3600 * 10**9


def _number(name: str, help: str, *, default: float | None, least: float = 1, kind: type = int) -> Callable[..., Any]:
    limits = click.IntRange(min=int(least)) if kind is int else click.FloatRange(min=least)
    return click.option(name, type=limits, default=default, show_default=default is not None, metavar="N", help=help)


@click.command()
@_number("--rate", "Rows a second over all workers; 0 is as fast as it goes.", default=0.0, least=0, kind=float)
@_number("--series", "Hosts; each reports nine tables.", default=100)
@_number("--workers", "Connections; the hosts are shared out among them.", default=1)
@_number("--rows", f"Rows in all. [default: {_ROWS} when --seconds is not given]", default=None)
@_number("--seconds", "Stop after this time.", default=None, least=0, kind=float)
@_number("--batch-rows", "Rows of one request; 2500 make about 1 MB.", default=2500)
@_number("--seed", "The same seed gives the same rows.", default=1, least=0)
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    metavar="TIME",
    help="Time of the first rows, UTC, such as 2026-01-31T12:00:00Z. [default: a day ago]",
)
@click.option(
    "--namespace",
    callback=checked_namespace,
    default="benchmark",
    envvar="PENSTOCK_NAMESPACE",
    metavar="NAME",
    help="Namespace to write to. [env: PENSTOCK_NAMESPACE; default: benchmark]",
)
@url_option
@timeout_option
@click.option(
    "--output",
    type=click.File("wb", lazy=False),
    metavar="FILE|-",
    help="Write the lines there instead of sending them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(
    *,
    start: datetime | None,
    namespace: str,
    url: str,
    timeout_s: float,
    output: BinaryIO | None,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Send generated server metrics (TSBS's devops case) and report rows/s, MB/s and latencies.

    A row is a line. The rates are of what was acknowledged, over the whole time from the first line to the last answer.
    One process generates and compresses the lines, some 100 thousand a second at most, so it may be what limits them.

    Which lines are sent depends on --seed, --series, --workers and --start alone.
    """
    from common.values.clock import SystemClock
    from penstock.terminal.progress import Progress
    from penstock.writing.client import WriteClient
    from penstock.writing.load import LoadRun

    clock = SystemClock()
    plan = _plan(numbers, clock.now_ns() - _DAY_NS if start is None else _nanoseconds(start))
    with Progress("row", plan.rows) as bar:

        def connect(worker: int) -> "Send":
            if output is not None:
                return _writing_to(output)
            return WriteClient(url, namespace, timeout_s=timeout_s).write

        figures = LoadRun(plan, connect, clock, bar.advance).run()
    _print(figures.report(), as_json, to_stderr=output is not None)
    if figures.interrupted:
        sys.exit(exit_codes.INTERRUPTED)
    if figures.failure is not None:
        sys.exit(exit_codes.of(figures.failure))
    sys.exit(exit_codes.FAILED if figures.refused else exit_codes.OK)


def _plan(numbers: dict[str, Any], start_ns: int) -> "Plan":
    from penstock.writing.load import Plan

    rows = _ROWS if numbers["rows"] is None and numbers["seconds"] is None else numbers["rows"]
    return Plan(**{**numbers, "rows": rows}, start_ns=start_ns)


def _nanoseconds(start: datetime) -> int:
    return int(start.replace(tzinfo=UTC).timestamp()) * 10**9


def _writing_to(output: BinaryIO) -> "Send":
    from common.values.errors import PenstockError
    from penstock.writing.client import Written

    def send(body: bytes) -> Written:
        try:
            output.write(body)
            output.flush()
        except BrokenPipeError:  # the reader has enough
            raise
        except OSError as error:
            raise PenstockError(f"--output {output.name}: {error.strerror}") from None
        return Written("")

    return send


def _print(report: dict[str, Any], as_json: bool, *, to_stderr: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(report), err=to_stderr)
        return
    click.echo(
        f"{counted(report['rows'], 'row')} {'written' if to_stderr else 'acknowledged'} in {report['seconds']:,.1f} s: "
        f"{report['rows_per_s']:,.0f} rows/s, {report['mb_per_s']:,.1f} MB/s of line protocol\n"
        f"{counted(report['batches'], 'batch', 'batches')}: p50 {report['p50_ms']:.1f} ms, "
        f"p99 {report['p99_ms']:.1f} ms; "
        f"{counted(report['refused_rows'], 'row')} refused, {counted(report['retries'], 'retry', 'retries')}, "
        f"{counted(len(report['errors']), 'error')}",
        err=to_stderr,
    )
    for error in report["errors"]:
        click.echo(f"penstock: error: {error}", err=True)
