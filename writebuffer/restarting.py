"""A sequencer of a write buffer whose records are lost, begun again: the door for `penstock log restart`.

Only the file backend can: a stream of Redis or Kafka that was made again has another identity, which the server gives.
"""

from collections.abc import Sequence

from common.values.errors import Misconfigured
from common.values.ids import Offset, SequencerId
from common.values.urls import local_folder
from writebuffer.file import FileBackend
from writebuffer.file.restart import Restarted

__all__ = ["Restarted", "restart_log"]


def restart_log(url: str, sequencer: SequencerId, identities: Sequence[str], at_least: Offset) -> Restarted:
    """As FileBackend.restart. Raises Misconfigured where `url` is no file buffer's."""
    folder = local_folder(url) if url.startswith("file:") else None
    if folder is None:
        raise Misconfigured(
            f"write buffer {url.partition('@')[2] or url}: only the log of a file buffer can be restarted. Start a new "
            "cluster for a new stream (docs/operations.md, A damaged or lost log)"
        )
    return FileBackend(folder).restart(sequencer, identities, at_least)
