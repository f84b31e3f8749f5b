"""Offsets that a flag gave, compared with those there are."""

from common.values.errors import InvalidRequest


def check_within(flag: str, asked: int, sequencer: int, next_offset: int) -> None:
    """Raises InvalidRequest, naming the flag, for an offset past the end; the end itself may be asked for."""
    if asked > next_offset:
        raise InvalidRequest(
            f"{flag} {asked} is past next offset {next_offset} of sequencer {sequencer}: give that, or a lower one",
            sequencer=sequencer,
            asked=asked,
            next_offset=next_offset,
        )
