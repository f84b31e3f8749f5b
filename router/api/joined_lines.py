"""Lines that lost their line ends on the way: `curl -d @file` removes them, and joins the lines of a file into one.

Such a line is refused for what is found where the second one begins. What helps is another way to send it.
"""

import re
from dataclasses import replace

from router.core.outcome import LinesRefused, Outcome

HINT = "the body is one line and looks like several joined: send line ends, too (curl: --data-binary, not -d)"

_SECTION = re.compile(rb'(?:[^ "\\]|\\.|"(?:[^"\\]|\\.)*+"?)++', re.DOTALL)
"""What is between two spaces that are neither escaped nor in a string."""
_NAME_AFTER_VALUE = re.compile(
    rb'=(?:-?\d[\d.]*+(?:[eE][-+]?\d++)?+[iu]?+|"(?:[^"\\]|\\.)*+"|true|false)[^\d.,]', re.DOTALL | re.IGNORECASE
)
_NAME_AFTER_TIME = re.compile(rb"-?\d++[^\d.]")


def with_hint(outcome: Outcome, body: bytes) -> Outcome:
    """`outcome` of `body`; where its only line is refused and looks like several, the reason says so."""
    if isinstance(outcome, LinesRefused) and outcome.lines.count == 1 and look_joined(body):
        (line,) = outcome.lines.refused
        outcome.lines.refused[0] = replace(line, reason=f"{line.reason}; {HINT}")
    return outcome


def look_joined(body: bytes) -> bool:
    """Whether `body` has no line end inside, and where a line's last value or its time ends another line begins.

    Such as `m f=1m f=2` and `m f=1 17m,t=a f=2 18`, but not `m f=1 g=2`, which has a space in place of a comma.
    """
    text = body.strip()
    if b"\n" in text:
        return False
    sections = [found[0] for found, _ in zip(_SECTION.finditer(text), range(4), strict=False)]
    _, fields, third, fourth = [*sections, *[b""] * 4][:4]
    if b"=" in third and _NAME_AFTER_VALUE.search(fields):
        return True
    return b"=" in fields and b"=" in fourth and _NAME_AFTER_TIME.match(third) is not None
