"""Bodies cut into pieces of text that are parsed at once: small bodies together, a large one in several pieces.

A piece ends with whole lines. Which lines a string goes on over is known only once a piece was parsed, so that the next
piece is cut after that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.lineprotocol.lines import line_end, without_byte_order_mark
from router.parsing.messages import Body

PIECE_BYTES_MAX = 1024 * 1024
"""The arrays of a piece take about ten times as much."""

_AGAIN_BYTES_MIN = 8 * 1024
"""Of the piece after one that was given up early. To find the structure of so much costs less than the lines that were
read one by one before."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of one body. start, end: their bytes in `text`; a newline at `end` belongs to them.

    number: of the first line. body: its place among those that are read together.
    """

    text: bytes
    start: int
    end: int
    number: int
    body: int

    @property
    def data(self) -> bytes:
        """With a newline after the last line."""
        data = self.text[self.start : self.end]
        return data if data.endswith(b"\n") else data + b"\n"

    @property
    def is_long_line(self) -> bool:
        """Whether this is one line that is longer than any piece of several lines."""
        return self.end - self.start > PIECE_BYTES_MAX


class _Cut:
    """One body, and up to where it was cut."""

    def __init__(self, body: int, data: bytes) -> None:
        self.at = 0
        self.number = 1
        self._body = body
        self._text = without_byte_order_mark(data)

    @property
    def left(self) -> int:
        return len(self._text) - self.at

    def next(self, room: int) -> Part | None:
        """Lines of at most `room` bytes in all; None where not even one fits."""
        start = self.at
        end = len(self._text) if self.left <= room else self._text.rfind(b"\n", start, start + room) + 1
        return self._part(end) if end > start else None

    def next_line(self) -> Part:
        """The next line alone, however long it is."""
        return self._part(min(line_end(self._text, self.at) + 1, len(self._text)))

    def _part(self, end: int) -> Part:
        part = Part(self._text, self.at, end, self.number, self._body)
        self.move(end)
        return part

    def reset(self, at: int, number: int) -> None:
        """Go back to where line `number` begins."""
        self.at, self.number = at, number

    def move(self, end: int) -> None:
        """Go on at `end`, which is not before the last one."""
        self.number += self._text.count(b"\n", self.at, end)
        self.at = end


class Pieces:
    """The pieces of several bodies, in order."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._cuts = [_Cut(number, body.data) for number, body in enumerate(bodies)]
        self._first = 0
        """The first body that may have something left."""
        self._room = PIECE_BYTES_MAX

    def __iter__(self) -> Iterator[list[Part]]:
        """Each to be parsed before the next is asked for. One of a single line may be longer than PIECE_BYTES_MAX."""
        while parts := self._next():
            yield parts

    def _next(self) -> list[Part]:
        parts: list[Part] = []
        room = self._room
        self._room = min(PIECE_BYTES_MAX, 2 * room)
        while self._first < len(self._cuts):
            cut = self._cuts[self._first]
            if cut.left > 0:
                part = cut.next(room)
                if part is None:
                    return parts or [cut.next_line()]
                parts.append(part)
                room -= part.end - part.start
            if cut.left > 0:
                return parts
            self._first += 1
        return parts

    def skip(self, body: int, end: int) -> None:
        """A line of that body went on to `end`, past what was cut from it."""
        cut = self._cuts[body]
        if end > cut.at:
            cut.move(end)

    def go_back(self, parts: Sequence[Part], place: int, at: int, number: int) -> None:
        """Of the piece `parts` nothing is read yet from byte `at` of the text of parts[place], line `number`, on.

        The next pieces are not much larger than what was read of this one, so that a body of which each piece is given
        up early is not looked through hundreds of times.
        """
        read = sum(part.end - part.start for part in parts[:place]) + at - parts[place].start
        self._room = min(PIECE_BYTES_MAX, max(_AGAIN_BYTES_MIN, 2 * read))
        for part in parts[place + 1 :]:
            self._cuts[part.body].reset(part.start, part.number)
        self._cuts[parts[place].body].reset(at, number)
        self._first = parts[place].body
