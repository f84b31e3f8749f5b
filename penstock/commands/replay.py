"""`penstock replay`."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.values.config import ClusterConfig, IngesterConfig
from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId
from penstock.terminal import exit_codes
from penstock.terminal.offsets import check_within
from penstock.terminal.options import SectionedCommand, settings
from penstock.terminal.unreachable import advising

if TYPE_CHECKING:
    from common.store.objects import ObjectStore
    from penstock.replay.reading import Range
    from writebuffer.contract import Reader


@dataclass(frozen=True)
class _Asked:
    """What the flags say. Times in ns since 1970. sequencer: None for all, with `into` alone."""

    sequencer: int | None
    from_offset: int | None
    from_time_ns: int | None
    to_offset: int | None
    to_time_ns: int | None
    namespace: str | None
    table: str | None
    dry_run: bool
    diff: bool
    rewrite: bool
    into: str | None
    as_json: bool

    def check(self) -> None:
        """Raises InvalidRequest for flags that do not go together."""
        if self.into is not None:
            self._check_into()
            return
        if self.sequencer is None:
            raise InvalidRequest("give --sequencer: which one to read (only --into reads all)")
        if (self.from_offset is None) == (self.from_time_ns is None):
            raise InvalidRequest("give either --from-offset or --from-time: where to begin to read")
        if self.to_offset is not None and self.to_time_ns is not None:
            raise InvalidRequest("give --to-offset or --to-time, not both: where to stop")
        if self.to_offset is not None and self.from_offset is not None and self.to_offset < self.from_offset:
            raise InvalidRequest(
                f"--to-offset {self.to_offset} is below --from-offset {self.from_offset}: give a higher one, or none "
                "for the end now"
            )
        if self.diff and not self.dry_run:
            raise InvalidRequest("--diff only compares: give it together with --dry-run")
        if self.rewrite and self.dry_run:
            raise InvalidRequest("--rewrite with --dry-run would do nothing: --dry-run --diff shows what it would mend")
        if self.table is not None and self.namespace is None:
            raise InvalidRequest("--table needs --namespace: tables of two namespaces may have the same name")
        if self.dry_run and not self.diff and self.namespace is not None:
            raise InvalidRequest("--namespace and --table choose what is compared or mended: add --diff to --dry-run")

    def _check_into(self) -> None:
        if (self.from_offset or 0) > 0 or any(
            (self.from_time_ns, self.to_offset, self.to_time_ns, self.namespace, self.table)
        ):
            raise InvalidRequest("--into reads the whole log, so that a cluster can go on from the new store")
        if self.dry_run or self.diff or self.rewrite:
            raise InvalidRequest("--into makes a new store: it goes with none of --dry-run, --diff and --rewrite")


_LEAST_NS = 10**17
"""Smaller numbers are years, seconds or milliseconds that somebody took for nanoseconds."""


class _Time(click.ParamType[int]):
    """RFC 3339, or integer nanoseconds since 1970."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> int:
        text = str(value)
        if text.isdecimal() and int(text) >= _LEAST_NS:
            return int(text)
        if text.isdecimal():
            self.fail(
                f"{text} is in 1973 or before as nanoseconds since 1970; a date is 2026-11-27T12:00:00Z", param, context
            )
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time: give 2026-11-27T12:00:00Z, or nanoseconds since 1970", param, context)
        if at.tzinfo is None:
            in_utc = f"{at:%Y-%m-%dT%H:%M:%S}Z"
            self.fail(f"{text!r} has no zone: give {in_utc} for UTC, or an offset such as +01:00", param, context)
        since = at - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


_offset = click.IntRange(min=0)


@click.command(cls=SectionedCommand)
@click.option("--sequencer", type=click.IntRange(min=0), metavar="N", help="The sequencer to read.")
@click.option("--from-offset", type=_offset, metavar="K", help="First offset to read.")
@click.option(
    "--from-time", type=_Time(), metavar="TIME", help="First append time to read, such as 2026-11-27T12:00:00Z."
)
@click.option("--to-offset", type=_offset, metavar="K", help="Stop before this one. [default: the end now]")
@click.option("--to-time", type=_Time(), metavar="TIME", help="Stop before the first record appended then or later.")
@click.option("--namespace", metavar="NAME", help="Only tables of this one. [default: all]")
@click.option("--table", metavar="NAME", help="Only this table of --namespace.")
@click.option("--dry-run", is_flag=True, help="Report only; change nothing.")
@click.option("--diff", is_flag=True, help="With --dry-run: compare every row and value with those in the files.")
@click.option("--rewrite", is_flag=True, help="Rebuild partitions that differ, from the log alone.")
@click.option("--into", metavar="URL", help="Make a new store there from the whole log, of --sequencer or of all.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@settings(ClusterConfig, without=("sequencers",))
def command(
    cluster: ClusterConfig, sequencer: int | None, from_time: int | None, to_time: int | None, **flags: object
) -> None:
    """Read a sequencer again from an offset or a time, and put what the store lacks into it.

    Works beside a running cluster or without one, and as often as you like: a row or value that the store has already
    is left as it is. Files that are missing, cut or changed are replaced, if their records are all in the range read.

    \b
    --dry-run         count what is in the records, and check that files exist and have their size
    --dry-run --diff  also compare every row and value with the files, and name what differs
    (neither)         add the rows and values that the store lacks
    --rewrite         rebuild partitions that differ: rows that the log does not have are removed
    --into URL        make a whole new store from the log, with which a cluster can go on

    The exit code is 5 when something is not as written, and stays so. To bring everything back, read from the oldest
    offset (`penstock status` shows it).

    --into does not read the live store, which may be lost: it needs the data folder, or the store, to know the cluster.
    """
    asked = _Asked(sequencer, from_time_ns=from_time, to_time_ns=to_time, **flags)  # type: ignore[arg-type]
    asked.check()
    from common.logs import configure_command
    from common.pandas_unused import keep_pandas_out

    configure_command(warnings=asked.into is not None)
    keep_pandas_out()
    if asked.into is not None:
        _rebuild(cluster, asked.into, asked)
    elif not _run(cluster, asked):
        raise SystemExit(exit_codes.CORRUPT)


def _run(cluster: ClusterConfig, asked: _Asked) -> bool:
    """Whether the store is as the log says, or is now."""
    from penstock.cluster.existing import chosen, open_cluster

    store, joined = open_cluster(cluster)
    (sequencer,) = chosen(joined, asked.sequencer)
    with _reading(cluster) as reader:
        if asked.dry_run and not asked.diff:
            return _count(store, reader, sequencer, asked)
        return _compare_or_mend(store, reader, sequencer, asked)


def _rebuild(cluster: ClusterConfig, url: str, asked: _Asked) -> None:
    """The live store need not be there: who the cluster is, is in the data folder too."""
    import structlog

    from common.startup import read_copy
    from penstock.cluster.existing import chosen, open_cluster
    from penstock.replay.into import open_target, rebuild
    from penstock.replay.text import rebuilt_text
    from penstock.terminal.progress import Progress

    joined = read_copy(cluster) or open_cluster(cluster)[1]
    log = structlog.get_logger()
    target = open_target(url, joined, log)
    made = []
    with _reading(cluster) as reader:
        for sequencer in chosen(joined, asked.sequencer):
            there = reader.offsets(sequencer)
            with Progress("record", total=there.next_offset - there.first_offset) as progress:
                made.append(rebuild(reader, target, sequencer, progress.advance, log))
            if not asked.as_json:
                click.echo(rebuilt_text(made[-1]))
    if asked.as_json:
        click.echo(json.dumps([one.to_json() for one in made]))


@contextmanager
def _reading(cluster: ClusterConfig) -> "Iterator[Reader]":
    from writebuffer.connect import connect

    with advising("--write-buffer"):
        opened = connect(cluster.write_buffer_url).open_reader()
    with closing(opened) as reader:
        yield reader


def _count(store: "ObjectStore", reader: "Reader", sequencer: SequencerId, asked: _Asked) -> bool:
    from common.catalog.manifest import manifest
    from common.store.objects import run
    from penstock.replay.dry_run import dry_run
    from penstock.replay.text import counts_text
    from penstock.terminal.progress import Progress

    state = run(manifest.load(sequencer), store)
    span = _range(reader, sequencer, asked)
    with Progress("record", total=span.end - span.first) as progress:
        report = dry_run(reader, state, store, span.first, span.end, progress.advance)
    click.echo(json.dumps(report.to_json()) if asked.as_json else counts_text(report))
    return not report.files_lost


def _compare_or_mend(store: "ObjectStore", reader: "Reader", sequencer: SequencerId, asked: _Asked) -> bool:
    from common.catalog.manifest import manifest
    from common.store.objects import run
    from penstock.replay.gathering import Selection
    from penstock.replay.holder import find_holder
    from penstock.replay.repair import Mode
    from penstock.replay.replay import Replay
    from penstock.replay.text import report_text
    from penstock.terminal.progress import Progress

    mode = Mode.COMPARE if asked.diff else Mode.REWRITE if asked.rewrite else Mode.ADD
    _range(reader, sequencer, asked)  # before anything is claimed: for its errors
    _check_selection(store, sequencer, asked)
    holder = None if mode is Mode.COMPARE else find_holder(reader, store, sequencer)
    state = holder.state if holder else run(manifest.load(sequencer), store)
    span = _range(reader, sequencer, asked)  # after the manifest: every offset that it names is below the end
    with tempfile.TemporaryDirectory(prefix="penstock-replay-") as folder:
        replay = Replay(
            reader,
            store,
            state,
            span,
            Selection(asked.namespace, asked.table),
            mode,
            Path(folder),
            IngesterConfig().file_bytes_max,
        )
        with Progress("record", total=span.end - span.first) as progress:
            keys = replay.gather(progress.advance)
        with Progress("partition", total=len(keys)) as progress:
            if holder is None:
                replay.compare(keys, progress.advance)
            else:
                replay.mend(keys, holder, progress.advance)
    report = replay.report
    click.echo(json.dumps(report.to_json()) if asked.as_json else report_text(report))
    return report.is_as_written


def _check_selection(store: "ObjectStore", sequencer: SequencerId, asked: _Asked) -> None:
    """Raises InvalidRequest for a table that there never was, which would have no difference.

    The manifest has what was persisted, also where schema files are lost.
    """
    from common.catalog.manifest import manifest
    from common.catalog.schema_store import settled_tables
    from common.store.objects import run
    from penstock.cluster.existing import tables_chosen

    if asked.namespace is not None:
        persisted = run(manifest.load(sequencer), store).sort_keys
        tables_chosen([*settled_tables(store), *persisted], asked.namespace, asked.table)


def _range(reader: "Reader", sequencer: SequencerId, asked: _Asked) -> "Range":
    """Raises OffsetTrimmed, RecordsLost and InvalidRequest for an offset that is not there."""
    from penstock.replay.reading import Range, offset_at
    from writebuffer.contract import Salvageable
    from writebuffer.errors import OffsetTrimmed, RecordsLost

    there = reader.offsets(sequencer)
    next_offset = there.next_offset
    if asked.from_time_ns is not None:
        first = offset_at(reader, sequencer, asked.from_time_ns)
    else:
        first = Offset(asked.from_offset or 0)
        check_within("--from-offset", first, sequencer, next_offset)
        if first < there.first_offset:
            raise OffsetTrimmed(sequencer, first, there.first_offset)
    end = next_offset
    if asked.to_time_ns is not None:
        end = min(end, offset_at(reader, sequencer, asked.to_time_ns))
    elif asked.to_offset is not None:
        end = Offset(min(end, asked.to_offset))
    found = Range(sequencer, first, max(first, end))
    for lost in reader.lost(sequencer) if isinstance(reader, Salvageable) else ():
        if found.first < lost.next_offset and lost.first_offset < found.end:
            raise RecordsLost(
                f"sequencer {sequencer}: offsets {lost.first_offset} to {lost.next_offset - 1} were lost, and "
                "given up by a salvage of the log; what is stored of them cannot be made again. Replay what comes "
                f"before (--to-offset {lost.first_offset}) or after them (--from-offset {lost.next_offset})",
                sequencer=sequencer,
            )
    return found
