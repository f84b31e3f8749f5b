"""`penstock log`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.values.config import ClusterConfig
from common.values.errors import InvalidRequest
from common.values.shown import counted
from penstock.terminal import exit_codes
from penstock.terminal.offsets import check_within
from penstock.terminal.options import SectionedCommand, WholeHelpGroup, json_option, sequencer_option, settings

if TYPE_CHECKING:
    from writebuffer.contract import Cursor
    from writebuffer.inspect import FileReader, Place

_POLL_RECORDS = 1000
_POLL_BYTES = 4 * 2**20


class _Open:
    """A log's folder, its reader, and the sequencers asked for."""

    def __init__(self, folder: Path, reader: "FileReader", sequencers: Sequence[int]) -> None:
        self.folder = folder
        self.reader = reader
        self.places: Sequence[Place] = [reader.places[number] for number in sequencers]


@click.group(cls=WholeHelpGroup)
def command() -> None:
    """Look at the files of a file write buffer; salvage a log that is damaged.

    Each command but `salvage` works beside a running cluster or without one, and neither locks nor changes anything.
    FOLDER is the write buffer's (the one with buffer.json), a data folder whose log/ it is, or its file:// URL.
    """


def _of_a_log(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A subcommand with FOLDER, --sequencer and --json."""

    def decorate(run: Callable[..., Any]) -> click.Command:
        number = click.IntRange(min=0)
        run = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(run)
        run = click.option("--sequencer", type=number, metavar="N", help="Only this one. [default: all]")(run)
        return command.command(name)(click.argument("folder", metavar="FOLDER")(run))

    return decorate


@_of_a_log("inspect")
def inspect(folder: str, sequencer: int | None, as_json: bool) -> None:
    """Show its offsets, segments and indexes, and which process has it open.

    \b
    state        open: being written; sealed; left open: its writer was killed;
                 replaced: another one with the same first offset is valid;
                 damaged: no valid header; unfinished: not valid yet
    next         one past the segment's last valid record
    passed over  bytes after it: of a write that failed and was repeated
    index        of offsets and times, made once a segment is sealed; readers do
                 without one, and nothing is lost by a damaged one

    The exit code is 5 when something is damaged. `verify` reads the records too.
    """
    from dataclasses import asdict

    from penstock.buffers import log_text
    from writebuffer.inspect import survey

    with _opened(folder, sequencer) as log:
        found = [survey(place) for place in log.places]
    if as_json:
        _print_json({"folder": str(log.folder), "sequencers": [asdict(one) for one in found]})
    else:
        click.echo("\n\n".join([f"{log.folder}", *map(log_text.survey_text, found)]))
    if any(one.damage for one in found):
        raise SystemExit(exit_codes.CORRUPT)


@_of_a_log("verify")
def verify(folder: str, sequencer: int | None, as_json: bool) -> None:
    """Read all records and check every checksum, length and link.

    Continues after damage, and reports each damaged place with the offsets that cannot be read. The exit code is 5 when
    there is one.
    """
    from dataclasses import asdict

    from penstock.buffers import log_text
    from penstock.terminal.progress import Progress
    from writebuffer.inspect import Verification

    checks, bad = [], 0
    with _opened(folder, sequencer) as log, Progress("B", _data_bytes(log)) as progress:
        for place in log.places:
            check = Verification(place, progress.advance)
            problems = []
            for problem in check.problems():
                problems.append(problem)
                if not as_json:
                    click.echo(log_text.problem_text(problem))
            bad += len(problems)
            checks.append((place.sequencer, check, problems))
            if not as_json:
                for note in check.notes:
                    click.echo(f"sequencer {place.sequencer}: note: {note}")
                click.echo(
                    f"sequencer {place.sequencer}: {counted(check.records, 'record')} in "
                    f"{counted(check.batches, 'batch', 'batches')}, {counted(check.bytes, 'byte')}: "
                    f"{counted(len(problems), 'problem') if problems else 'no damage found'}"
                )
    if as_json:
        _print_json(
            [
                {
                    "sequencer": number,
                    "records": check.records,
                    "batches": check.batches,
                    "bytes": check.bytes,
                    "problems": [asdict(problem) for problem in problems],
                    "notes": check.notes,
                }
                for number, check, problems in checks
            ]
        )
    if bad:
        raise SystemExit(exit_codes.CORRUPT)


@_of_a_log("dump")
@click.option("--from-offset", type=click.IntRange(min=0), metavar="K", help="First offset. [default: the oldest]")
@click.option(
    "--to-offset", type=click.IntRange(min=0), metavar="K", help="Stop before this one. [default: the end now]"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N records of each sequencer.")
@click.option("--decode", "decoded", is_flag=True, help="Show the rows of each record too.")
def dump(
    *,
    folder: str,
    sequencer: int | None,
    as_json: bool,
    from_offset: int | None,
    to_offset: int | None,
    limit: int | None,
    decoded: bool,
) -> None:
    """Print records, one after the other.

    \b
    sequencer/offset  append time  namespace  producer#sequence  bytes

    With --json each record is one line. Damage ends the command with exit code 5, after the records before it.
    """
    from penstock.buffers import log_text

    if decoded:
        from common.pandas_unused import keep_pandas_out

        keep_pandas_out()
    with _opened(folder, sequencer) as log:
        for place in log.places:
            cursor = log.reader.cursor(place.sequencer)
            first, end = _range(log.reader, place, from_offset, to_offset)
            for one in _records(cursor, first, end, limit):
                values = log_text.record_values(place.sequencer, one, decoded=decoded)
                if as_json:
                    _print_json(values, indent=None)
                else:
                    click.echo(log_text.record_text(values))
            cursor.close()


@_of_a_log("size")
def size(folder: str, sequencer: int | None, as_json: bool) -> None:
    """Show each sequencer's bytes of data and bytes on disk."""
    from dataclasses import asdict

    from penstock.buffers import log_text

    with _opened(folder, sequencer) as log:
        sizes = [(place.sequencer, log.reader.size(place.sequencer)) for place in log.places]
    if as_json:
        _print_json([{"sequencer": number} | asdict(found) for number, found in sizes])
    else:
        click.echo(log_text.sizes_text(sizes))


@command.command("salvage", cls=SectionedCommand)
@click.argument("folder", metavar="FOLDER")
@sequencer_option
@click.option("--accept-loss", is_flag=True, help="Do it: rows that only the unreadable records had are lost.")
@json_option
@settings(ClusterConfig, without=("data", "sequencers"))
def salvage(cluster: ClusterConfig, *, folder: str, sequencer: int | None, accept_loss: bool, as_json: bool) -> None:
    """Make a damaged or lost log whole, with all that can be read.

    Shows for each sequencer which offsets can be read, which are lost, and what of those is persisted already; nothing
    is changed, and the exit code is 5 when there is something to salvage.

    With --accept-loss, and the cluster stopped, it makes a log that keeps what can be read and is not persisted, each
    record at its offset, and goes on above every offset that was used, under the same identity. The old files are kept
    beside it. If something is lost, the next start needs --accept-loss, and the gap is recorded.

    FOLDER is the cluster's data folder, or the log's own in it.
    """
    from common.values.clock import SystemClock
    from penstock.buffers import salvage as salvaging
    from penstock.cluster.data_folder import held

    cluster = _in_folder(cluster, folder)
    found = []
    with held(cluster.data_folder, SystemClock().now_ns()) if accept_loss else nullcontext():
        for one in salvaging.look(cluster, sequencer, salvage=accept_loss):
            found.append(one)
            if not as_json:
                click.echo(salvaging.text(one))
    if as_json:
        _print_json([one.to_json() for one in found])
    elif accept_loss:
        click.echo(salvaging.next_step(found))
    if not accept_loss and not all(one.remains.is_whole for one in found):
        raise SystemExit(exit_codes.CORRUPT)


def _in_folder(cluster: ClusterConfig, folder: str) -> ClusterConfig:
    """With the data folder that FOLDER names, by itself or by the log's folder in it."""
    from common.values.urls import local_folder

    path = Path(local_folder(folder) or folder if "://" in folder else folder).absolute()
    if (path / "buffer.json").exists():
        return replace(cluster, data=str(path.parent), write_buffer=cluster.write_buffer or f"file://{path}")
    return replace(cluster, data=str(path))


@contextmanager
def _opened(folder: str, sequencer: int | None) -> Iterator[_Open]:
    from common.values.errors import Misconfigured, Unavailable
    from writebuffer.inspect import open_folder

    found, reader = open_folder(folder)
    try:
        number = len(reader.places)
        if sequencer is not None and sequencer >= number:
            raise InvalidRequest(
                f"--sequencer {sequencer}: {found} has {counted(number, 'sequencer')} (0..{number - 1})",
                sequencers=number,
            )
        yield _Open(found, reader, range(number) if sequencer is None else [sequencer])
    except PermissionError as error:
        raise Misconfigured(f"{error.filename}: {error.strerror}; run this command as a user who may read it") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unavailable(f"{found}: {error}") from None
    finally:
        reader.close()


def _range(reader: "FileReader", place: "Place", from_offset: int | None, to_offset: int | None) -> tuple[int, int]:
    offsets = reader.offsets(place.sequencer)
    first = offsets.first_offset if from_offset is None else from_offset
    check_within("--from-offset", first, place.sequencer, offsets.next_offset)
    end = offsets.next_offset if to_offset is None else min(to_offset, offsets.next_offset)
    if to_offset is not None and to_offset < first:
        raise InvalidRequest(f"--to-offset {to_offset} is below {first}, the first offset asked for: give a higher one")
    return first, end


def _records(cursor: "Cursor", first: int, end: int, limit: int | None) -> Iterator[Any]:
    from common.values.ids import Offset

    cursor.seek(Offset(first))
    left = end - first if limit is None else min(limit, end - first)
    while left > 0:
        batch = cursor.poll(min(left, _POLL_RECORDS), _POLL_BYTES, 0)
        if not batch.records:
            return
        yield from batch.records
        left -= len(batch.records)


def _data_bytes(log: _Open) -> int:
    return sum(log.reader.size(place.sequencer).data_bytes for place in log.places)


def _print_json(values: Any, indent: int | None = 1) -> None:
    import json

    click.echo(json.dumps(values, indent=indent, ensure_ascii=False))
