"""URL → backend: the only place that chooses one.

memory:            a new buffer for each call
memory:NAME        one buffer for each name, shared within the process; options after a ? (memory_options.py)
file:///path       the commit log in that folder (absolute; read letter by letter, common/values/urls.py; no options)
redis://host/0     Redis streams (writebuffer/redis; rediss, redis+unix, redis+sentinel and redis+cluster too)
kafka://host/topic Kafka (writebuffer/kafka)
other schemes      by an entry point of group `penstock.write_buffers`, named as the scheme, that takes the URL
"""

import difflib
import os
import re
import threading
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import PurePosixPath
from typing import cast

from common.values.errors import Misconfigured
from common.values.urls import local_folder, redacted
from writebuffer.contract import Backend
from writebuffer.file import FileBackend
from writebuffer.memory import MemoryBackend
from writebuffer.memory_options import MemoryOptions

REDIS_SCHEMES = ("redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster")
ENTRY_POINT_GROUP = "penstock.write_buffers"

_FORMS = {
    "memory": "memory:NAME",
    "file": "file:///absolute/path",
    "redis": "redis://host:6379/0",
    "rediss": "rediss://host:6379/0",
    "redis+unix": "redis+unix:///path/to/redis.sock",
    "redis+sentinel": "redis+sentinel://host:26379/service/0",
    "redis+cluster": "redis+cluster://host:6379",
    "kafka": "kafka://host:9092/topic",
}
"""The shortest right URL of each scheme."""

_named: dict[str, MemoryBackend] = {}
_named_lock = threading.Lock()


def connect(url: str) -> Backend:
    """The backend that `url` names; nothing is opened or made yet. Raises Misconfigured, naming the right form."""
    scheme, rest = _split(url)
    if scheme == "memory":
        return _memory(url, rest)
    if scheme == "file":
        return FileBackend(_folder(url, rest))
    if scheme in REDIS_SCHEMES:
        from writebuffer.redis import RedisBackend  # takes 60 ms, and not everybody needs it

        return cast(Backend, RedisBackend.from_url(url))
    if scheme == "kafka":
        from writebuffer.kafka import KafkaBackend

        return cast(Backend, KafkaBackend.from_url(url))
    found = entry_points(group=ENTRY_POINT_GROUP, name=scheme)
    return cast(Backend, next(iter(found)).load()(url))


def _split(url: str) -> tuple[str, str]:
    """A known scheme, and what follows its colon. Raises Misconfigured with what was probably meant."""
    if url != url.strip():
        raise _half_right(url, "has spaces around it", url.strip())
    scheme, colon, rest = url.partition(":")
    if url.startswith("/"):
        raise _half_right(url, "is a path", f"file://{url}")
    if not colon or "/" in scheme:
        raise _unknown(url, "has no scheme")
    if scheme not in _known():
        raise _wrong_scheme(url, scheme, rest)
    if scheme in _FORMS and "//" in _FORMS[scheme] and not rest.startswith("//"):
        raise _without_slashes(url, scheme, rest)
    return scheme, rest


def _known() -> list[str]:
    return [*_FORMS, *sorted(entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP))]


def _wrong_scheme(url: str, scheme: str, rest: str) -> Misconfigured:
    if scheme.lower() in _known():
        return _half_right(url, "has capitals in its scheme", f"{scheme.lower()}:{rest}")
    if _begins_with_port(rest):
        return _unknown(url, f"begins with a host and has no scheme before {scheme!r}")
    if near := difflib.get_close_matches(scheme.lower(), _known(), n=1, cutoff=0.75):
        return _half_right(url, f"has the unknown scheme {scheme!r}", f"{near[0]}:{rest}")
    return _unknown(url, f"has the unknown scheme {scheme!r}")


def _without_slashes(url: str, scheme: str, rest: str) -> Misconfigured:
    form = _FORMS[scheme]
    if scheme == "file":
        meant = f"file://{rest}" if rest.startswith("/") else form
    elif _begins_with_port(rest):  # a host that is called as the scheme, which is common in containers
        return _half_right(url, "begins with a host and has no scheme before it", f"{scheme}://{url}")
    else:
        meant = f"{scheme}://{rest.lstrip('/')}" if rest.strip("/") else form
    return _half_right(url, f"has no // after {scheme}:", meant)


def _begins_with_port(rest: str) -> bool:
    return rest.split("/")[0].isdecimal()


def _memory(url: str, rest: str) -> Backend:
    name, _, query = rest.partition("?")
    if "/" in name:
        raise _half_right(url, "has slashes; a memory buffer has a name and no path", _FORMS["memory"])
    try:
        options = MemoryOptions.from_query(query)
    except Misconfigured as error:
        raise Misconfigured(f"write buffer URL {url!r}: {error.message}", **{"url": url, **error.details}) from None
    if not name:
        return MemoryBackend(url, **asdict(options))
    with _named_lock:
        backend = _named.setdefault(name, MemoryBackend(url, **asdict(options)))
    if query and backend.options != options:
        raise Misconfigured(
            f"write buffer URL {url!r}: this process has {backend.url!r} already; give the same options or none, or "
            "another name",
            url=url,
        )
    return backend


def _folder(url: str, rest: str) -> str:
    folder = local_folder(url)
    if folder == "/" or not rest.strip("/"):
        raise _half_right(url, "names no folder", _FORMS["file"])
    if folder is None:
        host = rest[2:].partition("/")[0]
        raise _half_right(
            url,
            f"names a host, {host!r}; a folder is absolute and of this machine, after three slashes",
            _FORMS["file"],
        )
    missing = _missing(folder)
    if sign := re.search("[?#]", missing):
        meant = f"file://{folder.removesuffix(missing)}{missing[: sign.start()]}".rstrip("/")
        raise Misconfigured(
            f"write buffer URL {url!r}: a file buffer takes no options, and there is no folder with {sign[0]!r} in its "
            f"name; the right form is {meant}. A folder that is really called so is accepted once it exists (mkdir)",
            url=url,
            form=meant,
        )
    return folder


def _missing(folder: str) -> str:
    """The part of the path that is not there yet; "" where all of it is."""
    path = PurePosixPath(folder)
    existing = next(above for above in (path, *path.parents) if os.path.lexists(above))
    return "" if existing == path else str(path.relative_to(existing))


def _half_right(url: str, why: str, meant: str) -> Misconfigured:
    shown, right = redacted(url), redacted(meant)
    return Misconfigured(f"write buffer URL {shown!r} {why}; the right form is {right}", url=shown, form=right)


def _unknown(url: str, why: str) -> Misconfigured:
    forms = ["memory:", *_FORMS.values()]
    forms += [f"{scheme}:…" for scheme in _known() if scheme not in _FORMS]
    shown = redacted(url)
    return Misconfigured(f"write buffer URL {shown!r} {why}; it is one of: {', '.join(forms)}", url=shown)
