"""URL → backend: the only place that chooses one.

memory:            a new buffer for each call
memory:NAME        one buffer for each name, shared within the process
file:///path       the commit log in that folder (absolute; read letter by letter, as common/urls.py says)
other schemes      by an entry point of group `penstock.write_buffers`, named as the scheme, that takes the URL
"""

import threading
from importlib.metadata import entry_points
from typing import cast

from common.errors import Misconfigured
from common.urls import local_folder
from writebuffer.contract import Backend
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend

ENTRY_POINT_GROUP = "penstock.write_buffers"

_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def connect(url: str) -> Backend:
    """The backend that `url` names; nothing is opened or made yet. Raises Misconfigured, naming the right forms."""
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise _unknown(url, "has no scheme")
    if scheme == "memory":
        return _memory(url, rest)
    if scheme == "file":
        return FileBackend(_folder(url))
    found = entry_points(group=ENTRY_POINT_GROUP, name=scheme)
    if not found:
        raise _unknown(url, f"has the unknown scheme {scheme!r}")
    return cast(Backend, next(iter(found)).load()(url))


def _memory(url: str, name: str) -> Backend:
    if name.startswith("/"):
        raise _unknown(url, "has slashes; a memory buffer has a name and no path")
    if not name:
        return MemoryBackend(url)
    with _named_lock:
        return _named.setdefault(name, MemoryBackend(url))


def _folder(url: str) -> str:
    folder = local_folder(url)
    if folder is None:
        raise _unknown(url, "does not name an absolute folder with three slashes")
    if folder == "/":
        raise _unknown(url, "names no folder")
    return folder


def _unknown(url: str, why: str) -> Misconfigured:
    others = sorted(entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP))
    forms = ["memory:", "memory:NAME", "file:///absolute/path", *(f"{scheme}:…" for scheme in others)]
    return Misconfigured(f"write buffer URL {url!r} {why}; it is one of: {', '.join(forms)}", url=url)
