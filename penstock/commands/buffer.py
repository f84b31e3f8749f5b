"""`penstock buffer`."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from common.errors import InvalidRequest, Misconfigured, PenstockError
from common.ids import SequencerId

if TYPE_CHECKING:
    from penstock.buffer_copy import CopyReport, Span
    from writebuffer.contract import Backend, Reader

_AFTERWARDS = (
    "A cluster does not go on from a copy by itself: its manifests name the source's identity and offsets. Start it\n"
    "with the destination as --write-buffer and a new store (another --data or --store), which it fills from the\n"
    "copy's first offset. Rows that were trimmed from the source before are in the old store only."
)


class _Sequencers(click.ParamType[Any]):
    """A number, or `all`."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != "all" and not str(value).isdecimal():
            self.fail(f"{value!r} is neither a sequencer's number nor `all`", param, ctx)
        return value


@click.group()
def command() -> None:
    """Look at a write buffer, and copy records to another.

    URLs are those that --write-buffer takes.
    """


@command.command("copy")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--sequencer", type=_Sequencers(), required=True, metavar="N|all", help="The sequencer to copy, or all.")
@click.option(
    "--from-offset", type=click.IntRange(min=0), metavar="K", help="First source offset. [default: the oldest there is]"
)
@click.option(
    "--to-offset", type=click.IntRange(min=0), metavar="M", help="Stop before this one. [default: the end now]"
)
@click.option("--resume", is_flag=True, help="Go on with a copy that was interrupted: DST holds its beginning.")
@click.option("--append", is_flag=True, help="Put the records behind what DST holds, whatever that is.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def copy_command(
    *,
    source: str,
    destination: str,
    sequencer: str,
    from_offset: int | None,
    to_offset: int | None,
    resume: bool,
    append: bool,
    as_json: bool,
) -> None:
    """Copy records of write buffer SRC to write buffer DST.

    DST is made with as many sequencers as SRC where it does not stand yet. Each record keeps its bytes, headers and
    order; its offset is DST's own, and the report says which became which. SRC may be in use, DST should not be: what
    others append meanwhile stands between the copied records. Nothing is ever removed from either.

    Interrupted, the same command with --resume goes on without a record lost or twice: it compares what DST holds with
    SRC first, record by record. For --append the report says with which options to go on.

    A cluster does not go on from a copy by itself: its manifests name SRC's identity and offsets. Start it with DST as
    --write-buffer and a new store (another --data or --store), which it fills from DST's first offset.
    """
    if resume and append:
        raise InvalidRequest("--resume and --append exclude each other: the one compares what DST holds, the other not")
    if to_offset is not None and from_offset is not None and to_offset < from_offset:
        raise InvalidRequest(f"--to-offset {to_offset} is below --from-offset {from_offset}")
    from common.logs import configure_command
    from penstock.buffer_copy import CopyReport, span_of

    configure_command()
    with ExitStack() as stack:
        backends = _shared(source), _shared(destination)
        if backends[0].url == backends[1].url:
            raise Misconfigured("SRC and DST are the same write buffer; give another DST", url=backends[0].url)
        reader = backends[0].open_reader()
        stack.callback(reader.close)
        spans = [span_of(reader, one, from_offset, to_offset, resume=resume) for one in _chosen(reader, sequencer)]
        reports = [CopyReport.of(span) for span in spans]
        try:
            _copy(reader, backends[1], spans, reports, resume=resume, append=append)
        except (PenstockError, KeyboardInterrupt):
            if any(report.records or report.unknown_to for report in reports):
                _print(reports, append=append, as_json=as_json)
            raise
    _print(reports, append=append, as_json=as_json)


@command.command("info")
@click.argument("url", metavar="URL")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, unknown values as null.")
def info_command(url: str, as_json: bool) -> None:
    """Show each sequencer's offsets, size and identity.

    \b
    first, next  the oldest offset still readable, and one past the newest durable one
    bytes, disk  of records, and taken by them on disk; - where the backend cannot say
    identity     another one means that the stream was made anew
    powers       what the backend offers beyond the contract
    """
    from common.logs import configure_command
    from writebuffer import contract

    configure_command()
    backend = _shared(url)
    reader = backend.open_reader()
    try:
        found = []
        for sequencer in reader.sequencers():
            offsets = reader.offsets(sequencer)
            size = reader.size(sequencer) if isinstance(reader, contract.Measurable) else None
            found.append(
                {
                    "sequencer": sequencer,
                    "first": offsets.first_offset,
                    "next": offsets.next_offset,
                    "bytes": size.data_bytes if size else None,
                    "disk": size.disk_bytes if size else None,
                    "identity": reader.identity(sequencer),
                }
            )
    finally:
        reader.close()
    powers = sorted(power.__name__ for power in backend.powers if power.__module__ == contract.__name__)
    if as_json:
        click.echo(json.dumps({"url": backend.url, "powers": powers, "sequencers": found}))
    else:
        click.echo(f"{backend.url}\npowers: {', '.join(powers) or 'none'}\n\n{_table(found)}")


def _shared(url: str) -> "Backend":
    from writebuffer.connect import connect

    if url.startswith("memory:"):
        raise Misconfigured(
            f"write buffer {url!r} is in the memory of one process, and this is another: there is nothing to see. Give "
            "a file://, redis:// or kafka:// URL",
            url=url,
        )
    return connect(url)


def _chosen(reader: "Reader", sequencer: str) -> list[SequencerId]:
    from writebuffer.checks import check_sequencer

    if sequencer == "all":
        return list(reader.sequencers())
    chosen = SequencerId(int(sequencer))
    check_sequencer(chosen, len(reader.sequencers()))
    return [chosen]


def _copy(
    source: "Reader",
    destination: "Backend",
    spans: Sequence["Span"],
    reports: Sequence["CopyReport"],
    *,
    resume: bool,
    append: bool,
) -> None:
    """Nothing is appended before it is known that all `spans` can be."""
    from penstock import buffer_copy, buffer_resumption
    from penstock.progress import Progress

    _create(destination, len(source.sequencers()))
    with ExitStack() as stack:
        there = destination.open_reader()
        stack.callback(there.close)
        for span in spans:
            buffer_copy.check_different(source, there, span.sequencer)
            if not resume and not append:
                buffer_copy.check_empty(there, span.sequencer)
        writer = destination.open_writer()  # before any comparison: what a killed writer left counts from here on
        stack.callback(writer.close)
        bar = stack.enter_context(Progress("record", sum(span.to_offset - span.from_offset for span in spans)))
        for span, report in zip(spans, reports, strict=True):
            if resume:
                buffer_resumption.find_resumption(source, there, span, report, bar.advance)
        for span, report in zip(spans, reports, strict=True):
            buffer_copy.copy(source, there, writer, span, report, bar.advance)


def _create(destination: "Backend", sequencers: int) -> None:
    from writebuffer.errors import SequencersDiffer

    try:
        destination.create(sequencers)
    except SequencersDiffer as error:
        raise Misconfigured(
            f"{destination.url} has {error.sequencers} sequencers and SRC {sequencers}: which sequencer a series lives "
            "on depends on their number, so a copy keeps it. Give a DST with as many, or one that does not stand yet",
            **error.details,
        ) from None


def _print(reports: Sequence["CopyReport"], *, append: bool, as_json: bool) -> None:
    if as_json:
        complete = all(report.is_complete for report in reports)
        click.echo(json.dumps({"complete": complete, "sequencers": [report.to_json() for report in reports]}))
        return
    click.echo("\n".join(_text(report, append=append) for report in reports))
    if all(report.is_complete for report in reports):
        click.echo(_AFTERWARDS)


def _text(report: "CopyReport", *, append: bool) -> str:
    lines = [f"sequencer {report.sequencer}: {report.records:,} records, {report.bytes:,} bytes"]
    if report.records:
        lines[0] += (
            f": source {report.source_first}..{report.source_last} -> "
            f"destination {report.destination_first}..{report.destination_last}"
        )
    if report.before:
        lines.append(f"  behind {report.before:,} records of the destination that were not compared")
    if report.found:
        lines.append(f"  {report.found:,} records before them stood there already")
    if report.left_out:
        lines.append(f"  {report.left_out:,} more were left out: the destination stores a producer's record once")
    if report.gaps_count:
        told = ", ".join(f"{first}..{end - 1}" for first, end in report.gaps)
        more = f" and {report.gaps_count - len(report.gaps)} more" if report.gaps_count > len(report.gaps) else ""
        lines.append(f"  the source has no record at {told}{more}")
    if not report.is_complete:
        lines.append(
            f"  not complete: everything below source offset {report.go_on_at} stands; {_way_on(report, append=append)}"
        )
    return "\n".join(lines)


def _way_on(report: "CopyReport", *, append: bool) -> str:
    """--resume compares, and finds out what is not known; behind others' records it has to be told where to begin."""
    if not append:
        return "go on with the same command and --resume"
    sequencer = f"--sequencer {report.sequencer}"
    if report.unknown_to is None:
        return f"go on with --append {sequencer} --from-offset {report.go_on_at}"
    return (
        f"whether {report.go_on_at} to {report.unknown_to - 1} stand was not heard: go on with --resume {sequencer} "
        f"--from-offset {report.from_offset}, without --append, which looks"
    )


def _table(found: Sequence[dict[str, Any]]) -> str:
    names = list(found[0])
    rows = [["-" if one[name] is None else str(one[name]) for name in names] for one in found]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in [names, *rows]
    )
