"""`penstock conformance`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from penstock.terminal import exit_codes
from penstock.terminal.unreachable import advising

if TYPE_CHECKING:
    from penstock.buffers.conformance import Case, Found, Suite


@click.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    help="Only this group, such as seek; may be given several times.",
)
@click.option("-k", "keyword", default="", metavar="EXPRESSION", help="Only cases whose names match, as pytest's -k.")
@click.option(
    "--backend",
    metavar="MODULE:CALLABLE",
    help="A callable that makes a backend from such a URL, for one that no installed package provides.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0.1),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a case waits for something that should happen soon.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON; docs/write-a-backend.md describes it.")
def command(
    urls: tuple[str, ...], groups: tuple[str, ...], keyword: str, backend: str | None, patience_s: float, as_json: bool
) -> None:
    """Prove that a write buffer keeps the contract, group by group.

    New buffers are made beside each URL, and removed again; the buffer at the URL itself is not touched. A case of an
    optional power that the backend does not declare is listed as not run, which is neither passed nor failed.

    The exit code is 0 when nothing failed and 1 when something did, or when no case was run.
    """
    from penstock.buffers.conformance import Found, Suite, require_pytest
    from writebuffer.conformance.subject import Subject

    _check_groups(groups)
    require_pytest()
    subjects = [Subject(url, backend) for url in dict.fromkeys(urls)]
    with advising("the URL"):
        found = {one.url: one for one in map(Found.of, subjects)}
        suite = Suite(subjects, groups=groups, keyword=keyword, patience_s=patience_s)
        (_print_json if as_json else _print)(suite, found)
    sys.exit(exit_codes.OK if all(one.passed() for one in found.values()) else exit_codes.FAILED)


def _check_groups(groups: Sequence[str]) -> None:
    from writebuffer.conformance import GROUPS

    for group in groups:
        if group not in GROUPS:
            raise click.BadParameter(f"{group!r} is none of: {', '.join(GROUPS)}", param_hint="--group")


def _print_json(suite: "Suite", found: "dict[str, Found]") -> None:
    """One object at the end, also where the run ended early."""
    import json

    from penstock.buffers.conformance import follow, to_json

    try:
        for _ in follow(suite, found):
            pass
    finally:
        click.echo(json.dumps(to_json(list(found.values()))))


def _print(suite: "Suite", found: "dict[str, Found]") -> None:
    """Group by group while it runs, then the failures and totals of each write buffer."""
    from penstock.buffers.conformance import follow

    report = _Report(found)
    try:
        for case in follow(suite, found):
            report.add(case)
    finally:
        report.finish_buffer()


class _Report:
    """Prints a group once it has ended, and a write buffer's failures and totals after its last group."""

    def __init__(self, found: "dict[str, Found]") -> None:
        self._found = found
        self._url = ""
        self._group: list[Case] = []

    def add(self, case: "Case") -> None:
        from penstock.buffers.conformance import text_of_powers

        if case.url != self._url:
            self.finish_buffer()
            click.echo(text_of_powers(self._found[case.url]))
        elif case.group != self._group[0].group:
            self._finish_group()
        self._url = case.url
        self._group.append(case)

    def finish_buffer(self) -> None:
        from penstock.buffers.conformance import text_of_failures, text_of_totals

        if not self._url:
            return
        self._finish_group()
        one = self._found[self._url]
        if failures := text_of_failures(one):
            click.echo(f"\n{failures}\n")
        click.echo(f"  {text_of_totals(one)}\n")

    def _finish_group(self) -> None:
        from penstock.buffers.conformance import text_of_group

        click.echo(text_of_group(self._group[0].group, self._group))
        self._group = []
