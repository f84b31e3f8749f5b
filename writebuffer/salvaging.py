"""A sequencer of a write buffer that is damaged or lost, made whole again: the door for `penstock log salvage`.

Only of the file backend: a stream of Redis or Kafka is the server's, and docs/operations.md says what can be done.
"""

from common.values.errors import Misconfigured
from common.values.urls import local_folder
from writebuffer.contract import Stretch
from writebuffer.file import FileBackend
from writebuffer.file.salvage import Known, Remains, Salvaged
from writebuffer.file.verify import Problem

__all__ = ["Known", "Problem", "Remains", "Salvaged", "Stretch", "file_backend"]


def file_backend(url: str) -> FileBackend:
    """Its `examine` and `salvage` do the work. Raises Misconfigured where `url` is no file buffer's."""
    folder = local_folder(url) if url.startswith("file:") else None
    if folder is None:
        raise Misconfigured(
            f"write buffer {url.partition('@')[2] or url}: this command salvages the log of a file buffer. What to do "
            "about a stream of Redis or a topic of Kafka is in docs/operations.md, A damaged or lost log"
        )
    return FileBackend(folder)
