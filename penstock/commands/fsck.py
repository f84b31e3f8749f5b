"""`penstock fsck`."""

import json
import sys
from typing import TYPE_CHECKING

import click

from common.values.config import ClusterConfig
from penstock.terminal import exit_codes
from penstock.terminal.options import SectionedCommand, grace_option, json_option, sequencer_option, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.fsck.check import SequencerReport
    from penstock.fsck.finding import Finding
    from penstock.terminal.progress import Progress


@click.command(cls=SectionedCommand)
@sequencer_option
@click.option(
    "--deep",
    is_flag=True,
    help="Read all pages: checksums, order, keys and days of rows; and all of the manifest.",
)
@grace_option
@json_option
@settings(ClusterConfig, without=("write_buffer", "sequencers"))
def command(cluster: ClusterConfig, sequencer: int | None, deep: bool, grace_s: float, as_json: bool) -> None:
    """Check that the store holds what the manifests say.

    Reads only, beside a running cluster or without one. Every file that a manifest names is read: it exists, its bytes
    are those that were written, and its footer fits the manifest. Then the accounts, dead letters, and what lies in
    data/ without a name. What was found is named, with advice.

    \b
    DAMAGE     something that was written is not there, or not as it was    exit code 5
    left over  something is there that nobody needs                        exit code 1
    note       nothing is wrong                                            exit code 0

    That each row of the log is in a file is checked by `penstock replay --dry-run --diff`.
    """
    from common.logs import configure_command
    from common.pandas_unused import keep_pandas_out
    from common.values.clock import SystemClock
    from penstock.cluster.existing import chosen, open_joined
    from penstock.fsck import left_over
    from penstock.fsck.check import Options, check
    from penstock.fsck.report import finding_text, sequencer_text
    from penstock.terminal.progress import Progress

    configure_command(warnings=True)
    keep_pandas_out()
    store, joined = open_joined(cluster)
    options = Options(deep, grace_s, SystemClock().now_ns())
    reports: list[SequencerReport] = []
    foreign: list[Finding] = []
    with Progress("B") as progress:
        watching = _Watching(progress, quiet=as_json)
        for number in chosen(joined, sequencer):
            reports.append(check(number, store, options, watching))
            watching.say(sequencer_text(reports[-1]))
        for found in left_over.foreign(store, joined.sequencers) if sequencer is None else ():
            foreign.append(found)
            watching.say(finding_text(found))
    findings = [*(found for report in reports for found in report.findings), *foreign]
    click.echo(_json(reports, foreign, deep=deep) if as_json else _end(findings, deep=deep))
    sys.exit(_exit_code(findings))


class _Watching:
    """Shows progress, and each finding when it is found."""

    def __init__(self, progress: "Progress", quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet

    def expect(self, size_bytes: int) -> None:
        self._progress.expect(size_bytes)

    def read(self, size_bytes: int) -> None:
        self._progress.advance(size_bytes)

    def found(self, finding: "Finding") -> None:
        from penstock.fsck.report import finding_text

        self.say(finding_text(finding))

    def say(self, text: str) -> None:
        if not self._quiet:
            self._progress.answer(text)


def _json(reports: "Sequence[SequencerReport]", foreign: "Sequence[Finding]", *, deep: bool) -> str:
    sequencers = [report.to_json() for report in reports]
    return json.dumps({"deep": deep, "sequencers": sequencers, "foreign": [found.to_json() for found in foreign]})


def _end(findings: "Sequence[Finding]", *, deep: bool) -> str:
    from penstock.fsck.report import advice_text, verdict

    parts = [f"\n{verdict(findings)}", *([f"\nWhat to do:\n{advice_text(findings)}"] if findings else [])]
    if not deep:
        parts.append("Not checked: pages, the order and keys of rows, old manifest records (--deep does).")
    return "\n".join(parts)


def _exit_code(findings: "Sequence[Finding]") -> int:
    from penstock.fsck.finding import Level

    codes = {Level.NOTE: exit_codes.OK, Level.LEFT: exit_codes.FAILED, Level.DAMAGE: exit_codes.CORRUPT}
    return codes[max((found.level for found in findings), default=Level.NOTE)]
