"""What a replay found and did, as a person reads it."""

from common.values.shown import counted
from penstock.replay.dry_run import ReplayReport
from penstock.replay.into import Rebuilt
from penstock.replay.replay import Report


def counts_text(report: ReplayReport) -> str:
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


def report_text(report: Report) -> str:
    lines = [
        f"sequencer {report.sequencer}: read offsets {report.from_offset} to {report.next_offset}, {_what(report)}",
        f"  records              {report.records:>12,}   {report.bytes:,} bytes",
        f"  rows in them         {report.rows:>12,}   of these",
        f"    persisted          {report.rows_persisted:>12,}   in {counted(report.partitions, 'partition')}",
        f"    not persisted yet  {report.rows_unpersisted:>12,}   are durable in the write buffer alone",
        f"    duplicates         {report.rows_duplicate:>12,}   count once already",
        f"    undecodable        {report.rows_dead:>12,}   go to dead letters",
    ]
    if report.rows_of_others:
        lines.append(f"    not asked for      {report.rows_of_others:>12,}   are of other tables")
    lines.append(
        f"  missing in files     {report.rows_missing:>12,}   in {counted(report.partitions_different, 'partition')}"
    )
    if report.rows_different or report.mode != "add":
        lines.append(f"  with other values    {report.rows_different:>12,}")
    if report.mode != "add":
        lines.append(f"  not in the log       {report.rows_extra:>12,}")
    if report.mode != "compare":
        lines.append(
            f"  written              {report.rows_written:>12,}   rows in {counted(report.files_written, 'file')}, "
            f"which replace {report.files_removed:,}"
        )
    lines += [f"  {path}: {why}" for path, why in report.files_damaged.items()]
    if not report.is_as_written:
        lines += [f"  {sample}" for sample in report.samples]
    if report.files_beyond:
        lines.append(_beyond(report))
    return "\n".join(lines)


def rebuilt_text(one: Rebuilt) -> str:
    return (
        f"sequencer {one.sequencer}: offsets {one.from_offset} to {one.next_offset} are in "
        f"{counted(one.files, 'file')}: {one.stored:,} rows stored, {one.overwritten:,} overwritten, "
        f"{one.duplicate:,} duplicate, {one.dead:,} dead"
    )


def _what(report: Report) -> str:
    if report.mode == "compare":
        return "compared with the files; nothing changed: " + (
            "no difference"
            if report.is_as_written
            else f"differences in {counted(report.partitions_different, 'partition')}"
        )
    if report.partitions_left:
        return f"not mended: {counted(report.partitions_left, 'partition')}"
    return (
        f"mended: {counted(report.partitions_different, 'partition')}"
        if report.partitions_different
        else "nothing to mend"
    )


def _beyond(report: Report) -> str:
    shown = "".join(f"\n    {path}" for path in report.files_beyond[:10])
    more = f"\n    and {len(report.files_beyond) - 10:,} more" if len(report.files_beyond) > 10 else ""
    return (
        "  these files have rows of offsets outside the range, so it does not say all that belongs into them; read "
        f"from an earlier offset on, or restore them from a copy of the store:{shown}{more}"
    )
