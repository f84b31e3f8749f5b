"""The write token `1:0=1234,3=77`: version, then sequencer=offset of the write's last record there.

A write returns it; a query that brings it waits until applied is above every offset it names.
"""

from collections.abc import Mapping

from common.values.errors import InvalidRequest
from common.values.ids import Offset, SequencerId

TOKEN_HEADER = "X-Penstock-Write-Token"

_VERSION = "1"


def format_token(last_offsets: Mapping[SequencerId, Offset]) -> str:
    """The token of a write, sequencers in order."""
    return f"{_VERSION}:" + ",".join(f"{sequencer}={offset}" for sequencer, offset in sorted(last_offsets.items()))


def parse_token(token: str) -> dict[SequencerId, Offset]:
    """The inverse. Raises InvalidRequest with the right form."""
    version, colon, rest = token.strip().partition(":")
    try:
        if version != _VERSION or not colon:
            raise ValueError
        pairs = [pair.split("=") for pair in rest.split(",") if rest]
        offsets = {SequencerId(_natural(sequencer)): Offset(_natural(offset)) for sequencer, offset in pairs}
    except ValueError:
        raise InvalidRequest(
            f"write token {token!r} is not of the form 1:0=1234,3=77 (version:sequencer=offset,…)", token=token
        ) from None
    if len(offsets) != len(pairs):
        raise InvalidRequest(f"write token {token!r} names a sequencer twice", token=token)
    return offsets


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)
