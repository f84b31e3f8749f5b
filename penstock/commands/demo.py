"""`penstock demo`."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="FOLDER",
    help="Scratch folder, which is left as it is at the end. [default: a new one for temporary files]",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=6, show_default=True, metavar="N", help="Looks at this machine."
)
@click.option(
    "--rows", type=click.IntRange(min=9), default=50_000, show_default=True, metavar="N", help="Rows of the burst."
)
def command(folder: Path | None, samples: int, rows: int) -> None:
    """Show the whole path on a cluster in a scratch folder, and check it.

    Sends this machine's live metrics and a burst of generated ones, reads them by SQL, kills an ingester, reads the
    same rows again, replays a sequencer, stops in order, and shows where the Parquet files are. The exit code is not 0
    when anything is not as it should be.
    """
    import shlex
    import tempfile

    from penstock import demo

    scratch = folder or Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    demo.run(scratch, samples=samples, load_rows=rows)
    made = [scratch / name for name in demo.MADE] if folder else [scratch]
    click.echo(f"\nAll steps held. What it made stays, until you remove it:\n  rm -rf {shlex.join(map(str, made))}")
