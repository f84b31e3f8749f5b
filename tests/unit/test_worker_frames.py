"""What crosses between the router and a worker: every message comes back as it was, in the bytes that its reader asks
for."""

import pytest

from common.catalog.table_schema import TableSchema
from common.values.errors import PenstockError, Unavailable
from common.values.ids import SequencerId
from common.values.schema import ColumnType
from router.core.events import Cancel, Parse, Parsed, ParseFailed
from router.parsing.messages import Body, DroppedField, ParsedBatch, RefusedLine, RequestLines
from router.parsing.time_bounds import TimeBounds
from router.workers import frames
from router.workers.frames import ALONE_BYTES_MIN, Answer, Message

SIZES = [0, 1, ALONE_BYTES_MIN - 1, ALONE_BYTES_MIN, ALONE_BYTES_MIN + 1]
BLOBS = [bytes([number]) * size for number, size in enumerate(SIZES)]
LINES = RequestLines(3, 2, 1, [RefusedLine(7, "no", "t")], 1, [DroppedField(8, "time")], {SequencerId(3)}, True)


def carried(message: Message) -> object:
    data = b"".join(frames.write(message))
    reading = frames.read()
    wanted, position = next(reading), 0
    while True:
        try:
            position, wanted = position + wanted, reading.send(data[position : position + wanted])
        except StopIteration as end:
            assert position + wanted == len(data)
            return end.value


@pytest.mark.parametrize(
    "message",
    [
        Parse(
            5,
            1,
            "ns",
            [Body(blob, 1000, 17, True, TimeBounds(-5, 9)) for blob in BLOBS],
            {"t": TableSchema(2, {"h": ColumnType.TAG})},
        ),
        Parse(5, 1, "ns", [], {}, {"new": "one too many"}),
        Cancel(5),
        Answer(
            Parsed(
                5,
                ParsedBatch(
                    {SequencerId(3): BLOBS, SequencerId(0): [b"x"], SequencerId(1): []},
                    [LINES, RequestLines()],
                    {"t": {"f": ColumnType.FLOAT}},
                    {"t": 2},
                ),
            )
        ),
    ],
)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """With bodies and payloads on both sides of the size from which they travel alone."""
    assert carried(message) == message


@pytest.mark.parametrize("error", [PenstockError("a defect"), Unavailable("given up", written="unknown")])
def test_a_failure_comes_back_with_its_error_and_trace(error: PenstockError) -> None:
    """Kind, message and details of the error."""
    answer = carried(Answer(ParseFailed(5, error), "Traceback"))
    assert isinstance(answer, Answer)
    assert isinstance(answer.event, ParseFailed)
    back = answer.event.error
    assert (type(back), back.message, back.details, answer.trace) == (
        type(error),
        error.message,
        error.details,
        "Traceback",
    )


def test_a_large_body_is_not_copied() -> None:
    """The frame's parts are the bodies themselves."""
    large = bytes(ALONE_BYTES_MIN)
    assert any(part is large for part in frames.write(Parse(1, 0, "ns", [Body(large, 1, 0)], {})))
