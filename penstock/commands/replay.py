"""`penstock replay`."""

import json
from contextlib import closing
from typing import TYPE_CHECKING

import click

from common.values.config import ClusterConfig
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.shown import counted
from penstock.terminal import exit_codes
from penstock.terminal.offsets import check_within
from penstock.terminal.options import SectionedCommand, settings
from penstock.terminal.unreachable import advising

if TYPE_CHECKING:
    from ingester.replay import ReplayReport


@click.command(cls=SectionedCommand)
@click.option("--sequencer", type=click.IntRange(min=0), required=True, metavar="N", help="The sequencer to read.")
@click.option("--from-offset", type=click.IntRange(min=0), required=True, metavar="K", help="First offset to read.")
@click.option(
    "--to-offset", type=click.IntRange(min=0), metavar="K", help="Stop before this one. [default: the end now]"
)
@click.option("--dry-run", is_flag=True, help="Report only; change nothing. Required in this release.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@settings(ClusterConfig, without=("sequencers",))
def command(
    cluster: ClusterConfig, sequencer: int, from_offset: int, to_offset: int | None, dry_run: bool, as_json: bool
) -> None:
    """Read a sequencer again from an offset and report what is in it.

    Reads the write buffer and the manifest, beside a running cluster or without one, and changes nothing. Of the files
    that the manifest names it is checked that they exist and have the size that was written; their content is not
    read. The exit code is 5 when one does not.
    """
    if not dry_run:
        raise InvalidRequest(
            "replay into a live store is not built yet: rows would have to go through the running ingester. "
            "Add --dry-run to see what is in the records and how much of it is persisted"
        )
    if to_offset is not None and to_offset < from_offset:
        raise InvalidRequest(
            f"--to-offset {to_offset} is below --from-offset {from_offset}: give a higher one, or none for the end now"
        )
    report = _read_again(cluster, SequencerId(sequencer), Offset(from_offset), to_offset)
    click.echo(json.dumps(report.to_json()) if as_json else _text(report))
    if report.files_lost:
        raise SystemExit(exit_codes.CORRUPT)


def _read_again(
    cluster: ClusterConfig, sequencer: SequencerId, from_offset: Offset, to_offset: int | None
) -> "ReplayReport":
    from common.catalog.manifest import manifest
    from common.logs import configure_command
    from common.pandas_unused import keep_pandas_out
    from common.store.objects import run
    from ingester.replay import dry_run
    from penstock.cluster.existing import open_cluster
    from penstock.terminal.progress import Progress
    from writebuffer.connect import connect

    configure_command(warnings=False)
    keep_pandas_out()
    store, joined = open_cluster(cluster)
    if sequencer >= joined.sequencers:
        raise InvalidRequest(
            f"--sequencer {sequencer}: the cluster has {counted(joined.sequencers, 'sequencer')} "
            f"(0..{joined.sequencers - 1})"
        )
    with advising("--write-buffer"), closing(connect(cluster.write_buffer_url).open_reader()) as reader:
        state = run(manifest.load(sequencer), store)
        next_offset = reader.offsets(sequencer).next_offset
        check_within("--from-offset", from_offset, sequencer, next_offset)
        end = next_offset if to_offset is None else Offset(min(to_offset, next_offset))
        with Progress("record", total=end - from_offset) as progress:
            return dry_run(reader, state, store, from_offset, end, progress.advance)


def _text(report: "ReplayReport") -> str:
    lost = "".join(f"\n  {path}: {difference}" for path, difference in report.files_lost.items())
    return (
        f"sequencer {report.sequencer}: read offsets {report.from_offset} to {report.next_offset}, changed nothing\n"
        f"  records              {report.records:>12,}   {report.bytes:,} bytes\n"
        f"  rows in them         {report.rows:>12,}   of these\n"
        f"    persisted          {report.rows_persisted:>12,}   are in files that manifest record "
        f"{report.manifest_number} names\n"
        f"    in lost files      {report.rows_lost:>12,}   were persisted in files that are missing or cut: "
        f"{len(report.files_lost):,} of {report.files:,}\n"
        f"    not persisted yet  {report.rows_unpersisted:>12,}   are durable in the write buffer alone\n"
        f"    duplicates         {report.rows_duplicate:>12,}   count once already: in {report.records_duplicate:,} "
        "repeated records\n"
        f"    undecodable        {report.rows_dead:>12,}   go to dead letters: in {report.records_dead:,} records"
        f"{lost}"
    )
