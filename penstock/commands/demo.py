"""`penstock demo`."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="FOLDER",
    help="Scratch folder, which stays as it is at the end. [default: a new temporary one]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    metavar="N",
    help="Samples of this machine's metrics.",
)
@click.option(
    "--rows", type=click.IntRange(min=9), default=50_000, show_default=True, metavar="N", help="Rows of the burst."
)
def command(folder: Path | None, samples: int, rows: int) -> None:
    """Show the whole path on a cluster in a scratch folder, and check it.

    Sends this machine's live metrics and a burst of generated ones, reads them by SQL, kills an ingester, reads the
    same rows again, replays a sequencer, stops in order, and shows where the Parquet files are; deletes one, and brings
    its rows back by a replay. The exit code is not 0 when any check fails.
    """
    import shlex
    import tempfile

    from penstock.demo import demo

    scratch = folder or Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    demo.run(scratch, samples=samples, load_rows=rows)
    made = [scratch / name for name in demo.MADE] if folder else [scratch]
    click.echo(
        f"\nAll steps passed. The demo's folders stay until you remove them:\n  rm -rf {shlex.join(map(str, made))}"
    )
