"""The suite's options for pytest, known wherever penstock is installed. Imports nothing of weight."""

import pytest

PATIENCE_S = 20.0


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("write buffer", "proof of a write buffer (pytest --pyargs writebuffer.conformance)")
    group.addoption(
        "--write-buffer",
        action="append",
        default=[],
        metavar="URL",
        help="The buffer to prove: fresh ones are made beside it, and removed. Given several times, each is proven.",
    )
    group.addoption(
        "--backend",
        metavar="MODULE:CALLABLE",
        help="What makes a backend of such a URL, where no installed package does.",
    )
    group.addoption(
        "--patience",
        type=float,
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"How long to wait for what must come soon. [default: {PATIENCE_S:g}]",
    )
