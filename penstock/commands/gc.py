"""`penstock gc`."""

import json
from typing import TYPE_CHECKING, Any

import click

from common.values.config import ClusterConfig
from common.values.shown import counted
from penstock.terminal.options import SectionedCommand, grace_option, json_option, sequencer_option, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.catalog.unnamed import Unnamed
    from common.store.objects import ObjectStore
    from penstock.fsck.left_over import LeftOver


@click.command(cls=SectionedCommand)
@sequencer_option
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@grace_option
@json_option
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def command(cluster: ClusterConfig, sequencer: int | None, dry_run: bool, grace_s: float, as_json: bool) -> None:
    """Remove data files that no manifest names and none ever can.

    Such a file was put by an ingester that was killed, or superseded, before its commit; its rows were persisted
    again. Each start of an ingester removes those of its own sequencer; this command does so without a start, beside a
    running cluster or without one.

    A file is removed if the manifest, read after the file was seen, does not name it and is of a higher epoch than the
    file's writer, so that this writer cannot commit any more, even if it still runs. Files of the newest epoch are
    kept, whatever their age: their ingester may be about to name them. So is a file that the manifest named until less
    than --grace ago, for queries that began then.
    """
    from common.logs import configure_command
    from common.values.clock import SystemClock
    from penstock.cluster.existing import chosen, open_joined
    from penstock.fsck.left_over import orphans_of, removable

    configure_command(warnings=True)
    store, joined = open_joined(cluster)
    older_than_ns = SystemClock().now_ns() - round(grace_s * 1e9)
    answers = []
    for number in chosen(joined, sequencer):
        left = orphans_of(number, store)
        old = removable(left, older_than_ns, store)
        gone = []
        for each in old if dry_run else _removed(left, old, store):
            gone.append(each)
            if not as_json:
                size = counted(each.found.size_bytes, "byte")
                click.echo(f"{'would remove' if dry_run else 'removed'}  {each.found.path}  ({size})")
        answers.append(_answer(left, gone, older_than_ns))
    click.echo(json.dumps({"dry_run": dry_run, "sequencers": answers}) if as_json else _text(answers, dry_run=dry_run))


def _removed(left: "LeftOver", files: "list[Unnamed]", store: "ObjectStore") -> "Iterator[Unnamed]":
    from penstock.fsck.left_over import remove

    return remove(left, files, store)


def _answer(left: "LeftOver", gone: "list[Unnamed]", older_than_ns: int) -> dict[str, Any]:
    """One sequencer: what was removed, or would be, and what no manifest names and is kept."""
    paths = {each.found.path for each in gone}
    kept = [each for each in left.files if each.found.path not in paths]
    return {
        "sequencer": left.state.sequencer,
        "manifest_number": left.state.number,
        "epoch": left.state.epoch,
        "removed": [_object(each) for each in gone],
        "kept": [{**_object(each), "why": _why_kept(each, left, older_than_ns)} for each in kept],
    }


def _object(each: "Unnamed") -> dict[str, Any]:
    return {"path": each.found.path, "bytes": each.found.size_bytes, "epoch": each.name.epoch}


def _why_kept(each: "Unnamed", left: "LeftOver", older_than_ns: int) -> str:
    if each.same_as:
        return f"it has the name of {each.same_as}"
    if each.gap(left.state):
        return "it may have rows of a gap that the manifest records"
    if each.can_be_named(left.state):
        return "a manifest may still name it: a start of the sequencer's ingester removes it if not"
    if each.found.modified_ns >= older_than_ns:
        return "it is younger than --grace"
    return "the manifest named it until less than --grace ago: a query may be reading it"


def _text(answers: list[dict[str, Any]], *, dry_run: bool) -> str:
    lines = [f"kept  {each['path']}: {each['why']}" for answer in answers for each in answer["kept"]]
    gone = [each for answer in answers for each in answer["removed"]]
    size = counted(sum(each["bytes"] for each in gone), "byte")
    lines.append(f"{'would remove' if dry_run else 'removed'} {counted(len(gone), 'file')}, {size}")
    return "\n".join(lines)
