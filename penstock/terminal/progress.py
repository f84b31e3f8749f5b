"""A progress bar on stderr, only at a terminal; lines printed meanwhile stay readable above it."""

import sys
from types import TracebackType

import click
from tqdm import tqdm


class Progress:
    """unit: "B" for bytes, which are scaled, or a word. total: None when it is not known."""

    def __init__(self, unit: str, total: float | None = None) -> None:
        self._bar = tqdm(
            total=total,
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=True,
            unit_divisor=1000,
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def advance(self, amount: float) -> None:
        self._bar.update(amount)

    def expect(self, amount: float) -> None:
        """So much more is to come."""
        self._bar.total = (self._bar.total or 0) + amount
        self._bar.refresh()

    def answer(self, text: str) -> None:
        """Lines on stdout, above the bar."""
        self._bar.clear()
        click.echo(text)
        self._bar.refresh()

    def say(self, text: str) -> None:
        """One line on stderr."""
        self._bar.write(text, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
