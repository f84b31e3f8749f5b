"""`penstock dead-letter`."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.values.config import ClusterConfig, IngesterConfig
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from common.values.shown import counted
from penstock.terminal import exit_codes
from penstock.terminal.options import SectionedCommand, WholeHelpGroup, json_option, sequencer_option, settings

if TYPE_CHECKING:
    from common.catalog.manifest.state import ManifestState
    from common.store.objects import ObjectStore
    from penstock.dead_letters.letters import Letter

_HEX_BYTES = 256
_REASON_CHARS = 100


@click.group(cls=WholeHelpGroup)
def command() -> None:
    """Look at records that could not be applied, and deal with them.

    An ingester puts such a record aside, with the reason, and goes on. Each command works beside a running cluster or
    without one.
    """


def _of_one(run: Callable[..., Any]) -> Callable[..., Any]:
    """--sequencer and --offset, both needed."""
    number = click.IntRange(min=0)
    run = click.option("--offset", type=number, required=True, metavar="K", help="The record's offset.")(run)
    return click.option("--sequencer", type=number, required=True, metavar="N", help="Its sequencer.")(run)


@command.command("list", cls=SectionedCommand)
@sequencer_option
@json_option
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def list_(cluster: ClusterConfig, sequencer: int | None, as_json: bool) -> None:
    """List dead letters: where the record is, its size, and why it could not be applied."""
    from penstock.dead_letters import letters

    rows = []
    for state, store in _states(cluster, sequencer):
        for letter in letters.read_all(state, store):
            rows.append({"sequencer": state.sequencer, **letter.to_json()})
    if as_json:
        click.echo(json.dumps(rows))
        return
    for one in rows:
        reason = one["reason"] if len(one["reason"]) <= _REASON_CHARS else one["reason"][:_REASON_CHARS] + "…"
        size = (
            f"{counted(one['rows'], 'row')}, {counted(one['bytes'], 'byte')}{', redriven' if one['redriven'] else ''}"
        )
        click.echo(f"sequencer {one['sequencer']}, offset {one['offset']}: {size}: {reason or 'the note is missing'}")
    click.echo(counted(len(rows), "dead letter") if rows else "no dead letters")


@command.command("show", cls=SectionedCommand)
@_of_one
@click.option("--raw", is_flag=True, help="Write the record's bytes to stdout, and nothing else.")
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def show(cluster: ClusterConfig, sequencer: int, offset: int, raw: bool) -> None:
    """Show one: the reason, what this release makes of it, and its first bytes."""
    from penstock.dead_letters import letters

    ((state, store),) = _states(cluster, sequencer)
    letter = letters.read(state, Offset(offset), store)
    if raw:
        sys.stdout.buffer.write(letter.data)
        return
    click.echo("\n".join(_shown(state.sequencer, letter)))


@command.command("redrive", cls=SectionedCommand)
@sequencer_option
@click.option("--offset", type=click.IntRange(min=0), metavar="K", help="Only this one, of --sequencer. [default: all]")
@json_option
@settings(ClusterConfig, without=("sequencers",))
def redrive(cluster: ClusterConfig, sequencer: int | None, offset: int | None, as_json: bool) -> None:
    """Apply dead letters after all, as after an upgrade that reads them.

    A row only fills: a value that is there for its key stays. A letter is redriven once; run again, those that were are
    left alone. The exit code is 1 when one cannot be applied; the reason is printed.
    """
    from common.logs import configure_command
    from penstock.dead_letters import letters
    from penstock.dead_letters.redrive import redrive as run
    from penstock.replay.holder import find_holder
    from writebuffer.connect import connect

    configure_command(warnings=False)
    if offset is not None and sequencer is None:
        raise InvalidRequest("--offset needs --sequencer: each has offsets of its own")
    reports, left = [], 0
    with closing(connect(cluster.write_buffer_url).open_reader()) as reader:
        for state, store in _states(cluster, sequencer):
            wanted = [Offset(offset)] if offset is not None else letters.offsets(state, store)
            found = [one for at in wanted if not (one := letters.read(state, at, store)).redriven]
            if not found:
                continue
            holder = find_holder(reader, store, state.sequencer)
            with tempfile.TemporaryDirectory(prefix="penstock-redrive-") as folder:
                done = run(found, holder, store, Path(folder), IngesterConfig().file_bytes_max)
            left += len(done.left)
            reports.append(
                {"sequencer": state.sequencer, "letters": done.letters, "rows": done.rows}
                | {"rows_added": done.rows_added, "left": {str(at): why for at, why in done.left.items()}}
            )
    click.echo(json.dumps(reports) if as_json else "\n".join(_redriven(reports)))
    if left:
        raise SystemExit(exit_codes.FAILED)


@command.command("drop", cls=SectionedCommand)
@_of_one
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def drop(cluster: ClusterConfig, sequencer: int, offset: int, yes: bool) -> None:
    """Remove one for good. Its rows stay counted as dead, unless they were redriven."""
    from penstock.dead_letters import letters

    ((state, store),) = _states(cluster, sequencer)
    letter = letters.read(state, Offset(offset), store)
    what = f"the dead letter at offset {offset} of sequencer {sequencer} ({counted(letter.rows, 'row')})"
    if not (yes or letter.redriven):
        if not sys.stdin.isatty():
            raise InvalidRequest(f"{what} was not redriven: add --yes to remove it all the same")
        click.confirm(f"Remove {what}? It was not redriven", abort=True)
    letters.drop(state, Offset(offset), store)
    click.echo(f"removed {what}")


def _states(cluster: ClusterConfig, sequencer: int | None) -> Iterator[tuple["ManifestState", "ObjectStore"]]:
    """Of the sequencer asked for, or of each."""
    from common.catalog.manifest import manifest
    from common.pandas_unused import keep_pandas_out
    from common.store.objects import run
    from penstock.cluster.existing import chosen, open_joined

    keep_pandas_out()
    store, joined = open_joined(cluster)
    for number in chosen(joined, sequencer):
        yield run(manifest.load(SequencerId(number)), store), store


def _shown(sequencer: int, letter: "Letter") -> Iterator[str]:
    from common.entry import Entry
    from ingester.following.decode import Undecodable

    record = letter.record
    yield f"sequencer {sequencer}, offset {letter.offset}: {counted(len(letter.data), 'byte')}"
    yield f"  reason    {letter.reason or 'the note is missing'}"
    yield f"  redriven  {'yes' if letter.redriven else 'no'}"
    if letter.ends_processes:
        yield "  now       not looked at; redrive tries it in a process of its own"
    elif record is None:
        yield "  now       its bytes are no record"
    elif isinstance(record.content, Undecodable):
        yield f"  now       {record.content.reason}"
    elif isinstance(record.content, Entry):
        tables = [f"{name} ({counted(batch.num_rows, 'row')})" for name, batch in record.content.tables.items()]
        yield f"  now       can be read: namespace {record.content.namespace}, {', '.join(tables)}"
    for start in range(0, min(len(letter.data), _HEX_BYTES), 16):
        part = letter.data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"  {start:06x}  {part.hex(' '):<47}  {text}"
    if len(letter.data) > _HEX_BYTES:
        yield f"  and {len(letter.data) - _HEX_BYTES:,} bytes more: --raw writes all"


def _redriven(reports: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not reports:
        yield "nothing to redrive"
    for one in reports:
        yield (
            f"sequencer {one['sequencer']}: {counted(one['letters'], 'dead letter')} redriven, "
            f"{counted(one['rows'], 'row')}, of which the store lacked {one['rows_added']:,}"
        )
        for offset, why in one["left"].items():
            yield f"  offset {offset} left: {why}"
