"""`penstock buffer`."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import click

from common.values.errors import InvalidRequest, Misconfigured, PenstockError
from common.values.ids import SequencerId
from common.values.shown import counted
from penstock.terminal.options import WholeHelpGroup
from penstock.terminal.unreachable import advising

if TYPE_CHECKING:
    from penstock.buffers.copy import CopyReport, Span
    from writebuffer.contract import Backend, Reader

_AFTERWARDS = (
    "A cluster does not continue from a copy by itself: its manifests name the source's identity and offsets. Start\n"
    "it with the destination as --write-buffer and a new store (another --data or --store), which it fills from the\n"
    "copy's first offset. Rows that were trimmed from the source before are only in the old store."
)


class _Sequencers(click.ParamType[Any]):
    """A number, or `all`."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != "all" and not str(value).isdecimal():
            self.fail(f"{value!r} is neither a sequencer's number nor `all`", param, ctx)
        return value


@click.group(cls=WholeHelpGroup)
def command() -> None:
    """Look at a write buffer, and copy records to another.

    A URL is one that --write-buffer accepts.
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
@click.option("--resume", is_flag=True, help="Continue a copy that was interrupted: DST has its beginning.")
@click.option("--append", is_flag=True, help="Put the records after those of DST, without comparing them.")
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

    A DST that does not exist is made with as many sequencers as SRC. Each record keeps its bytes, headers and order; it
    gets an offset of DST, and the report says which offsets became which. SRC may be in use. DST should not be: records
    that others append meanwhile would be between the copied ones. Nothing is removed from either.

    After an interruption the same command with --resume continues, with no record lost or twice: it first compares the
    records of DST with those of SRC. For --append the report says with which options to continue.

    A cluster does not continue from a copy by itself: its manifests name SRC's identity and offsets. Start it with DST
    as --write-buffer and a new store (another --data or --store), which it fills from DST's first offset.
    """
    if resume and append:
        raise InvalidRequest(
            "give --resume or --append, not both: --resume compares DST with SRC first, --append does not"
        )
    if to_offset is not None and from_offset is not None and to_offset < from_offset:
        raise InvalidRequest(f"--to-offset {to_offset} is below --from-offset {from_offset}")
    from common.logs import configure_command
    from penstock.buffers.copy import CopyReport, span_of

    configure_command(warnings=True)
    with advising("the URL"), ExitStack() as stack:
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
    bytes, disk  of records, and of the disk they use; - where the backend cannot say
    identity     of the stream; it changes when the stream is deleted and made again
    powers       what the backend offers beyond the contract
    """
    from common.logs import configure_command
    from writebuffer import contract

    configure_command(warnings=False)
    backend = _shared(url)
    with advising("the URL"), closing(backend.open_reader()) as reader:
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
    powers = sorted(power.__name__ for power in backend.powers if power.__module__ == contract.__name__)
    if as_json:
        click.echo(json.dumps({"url": backend.url, "powers": powers, "sequencers": found}))
    else:
        click.echo(f"{backend.url}\npowers: {', '.join(powers) or 'none'}\n\n{_table(found)}")


def _shared(url: str) -> "Backend":
    from writebuffer.connect import connect

    if url.startswith("memory:"):
        raise Misconfigured(
            f"write buffer {url!r} is in the memory of one process, and this command is another: it can read no "
            "records there. Give "
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
    """Nothing is appended before all `spans` are known to be possible."""
    from penstock.buffers import copy as buffer_copy
    from penstock.buffers import resumption as buffer_resumption
    from penstock.terminal.progress import Progress

    _create(destination, len(source.sequencers()))
    with ExitStack() as stack:
        there = destination.open_reader()
        stack.callback(there.close)
        for span in spans:
            buffer_copy.check_different(source, there, span.sequencer)
            if not resume and not append:
                buffer_copy.check_empty(there, span.sequencer)
        writer = destination.open_writer()  # before any comparison: only now do records that a killed writer left count
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
            f"{destination.url} has {counted(error.sequencers, 'sequencer')} and SRC {sequencers}: the sequencer of a "
            "series depends on their number, so a copy keeps it. Give a DST with as many, or one that does not exist "
            "yet",
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
    lines = [f"sequencer {report.sequencer}: {counted(report.records, 'record')}, {counted(report.bytes, 'byte')}"]
    if report.records:
        lines[0] += (
            f": source {report.source_first}..{report.source_last} -> "
            f"destination {report.destination_first}..{report.destination_last}"
        )
    if report.before:
        lines.append(f"  after {counted(report.before, 'record')} of the destination, not compared")
    if report.found:
        lines.append(f"  there already before: {counted(report.found, 'record')}")
    if report.left_out:
        lines.append(f"  left out, since the destination stores a producer's record once: {report.left_out:,} more")
    if report.gaps_count:
        listed = ", ".join(f"{first}..{end - 1}" for first, end in report.gaps)
        more = f" and {report.gaps_count - len(report.gaps)} more" if report.gaps_count > len(report.gaps) else ""
        lines.append(f"  the source has no record at {listed}{more}")
    if not report.is_complete:
        lines.append(
            f"  not complete: everything below source offset {report.go_on_at} is copied; "
            f"{_how_to_continue(report, append=append)}"
        )
    return "\n".join(lines)


def _how_to_continue(report: "CopyReport", *, append: bool) -> str:
    """--resume compares, and so finds what was stored. With others' records before, it needs the offset to begin at."""
    if not append:
        return "continue with the same command and --resume"
    sequencer = f"--sequencer {report.sequencer}"
    if report.unknown_to is None:
        return f"continue with --append {sequencer} --from-offset {report.go_on_at}"
    return (
        f"no answer came for {report.go_on_at} to {report.unknown_to - 1}: continue with --resume {sequencer} "
        f"--from-offset {report.from_offset}, without --append; it finds out which of them were stored"
    )


def _table(found: Sequence[dict[str, Any]]) -> str:
    names = list(found[0])
    rows = [["-" if one[name] is None else str(one[name]) for name in names] for one in found]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in [names, *rows]
    )
