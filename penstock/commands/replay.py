"""`penstock replay`."""

import json

import click

from common.config import ClusterConfig
from common.errors import InvalidRequest
from common.ids import Offset, SequencerId
from penstock import datafolder
from penstock.options import SectionedCommand, settings


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
    """Read a sequencer again from an offset and report what it holds.

    Reads the write buffer and the manifest, beside a running cluster or without one, and changes nothing.
    """
    if not dry_run:
        raise InvalidRequest(
            "replay into a live store is not built yet: rows would have to go through the running ingester. "
            "Add --dry-run to see what the records hold and how much of it is durable"
        )
    from common.objectstore import run
    from ingester.persist import manifest
    from ingester.replay import dry_run as read_again
    from penstock.existing import open_cluster
    from penstock.progress import Progress
    from writebuffer.connect import connect

    datafolder.require(cluster)
    store, joined = open_cluster(cluster)
    if sequencer >= joined.sequencers:
        raise InvalidRequest(f"sequencer {sequencer}: the cluster has {joined.sequencers} (0..{joined.sequencers - 1})")
    reader = connect(cluster.write_buffer_url).open_reader()
    try:
        state = run(manifest.load(SequencerId(sequencer)), store)
        end = reader.offsets(SequencerId(sequencer)).next_offset
        with Progress("record", total=max(0, min(end, to_offset or end) - from_offset)) as progress:
            report = read_again(
                reader,
                state,
                Offset(from_offset),
                None if to_offset is None else Offset(to_offset),
                progress.advance,
            )
    finally:
        reader.close()
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    click.echo(
        f"sequencer {report.sequencer}: offsets {report.from_offset} to {report.next_offset}, nothing changed\n"
        f"  records            {report.records:>12,}   {report.bytes:,} bytes\n"
        f"  rows               {report.rows:>12,}\n"
        f"    already durable  {report.rows_durable:>12,}   in files of manifest record {report.manifest_number}\n"
        f"    not persisted    {report.rows_missing:>12,}   in the buffer and the ingester's memory\n"
        f"    duplicates       {report.rows_duplicate:>12,}   in {report.records_duplicate:,} repeated records\n"
        f"    undecodable      {report.rows_dead:>12,}   in {report.records_dead:,} records"
    )
