"""What a server's settings make of an acknowledgement, held against what the URL asks.

Read at each connect of a writer: a failover may lead to a server with other settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.values.errors import DataCorrupt, Misconfigured
from writebuffer.redis.link import Link, NotServing
from writebuffer.redis.url import DURABILITIES, Durability, RedisUrl

_CONFIG = (b"appendonly", b"appendfsync", b"no-appendfsync-on-rewrite", b"maxmemory-policy")
_VERSION_MIN = 7
MASTER_CHECK_S = 2.0
"""How long a demoted master may go unnoticed by those who read from it."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """appendfsync, no_fsync_on_rewrite: None where the server does not show its settings."""

    server: str
    version: str
    is_cluster: bool
    master: str | None
    """Of a replica: whose."""
    replicas: int
    eviction: str
    appendonly: bool
    appendfsync: str | None
    no_fsync_on_rewrite: bool | None

    @property
    def grade(self) -> Durability:
        """What an acknowledgement is worth at least."""
        if not self.appendonly or self.appendfsync in (None, "no"):
            return "none"
        if self.appendfsync == "everysec" or self.no_fsync_on_rewrite:
            return "everysec"
        return "always"


def read_settings(link: Link) -> ServerSettings:
    """Raises what Link.call does."""
    info = _parse_info(link.call(b"INFO"))
    try:
        found = link.call(b"CONFIG", b"GET", *_CONFIG)
    except (Misconfigured, DataCorrupt):  # the user may not, or the service does not know the command
        found = []
    config = {name.decode(): value.decode() for name, value in zip(found[::2], found[1::2], strict=True)}
    return ServerSettings(
        server=link.server,
        version=info.get("redis_version", "unknown"),
        is_cluster=info.get("cluster_enabled") == "1",
        master=f"{info.get('master_host')}:{info.get('master_port')}" if info.get("role") == "slave" else None,
        replicas=int(info.get("connected_slaves", 0)),
        eviction=config.get("maxmemory-policy", info.get("maxmemory_policy", "unknown")),
        appendonly=info.get("aof_enabled") == "1",
        appendfsync=config.get("appendfsync"),
        no_fsync_on_rewrite=config["no-appendfsync-on-rewrite"] == "yes" if config else None,
    )


def check_serving(settings: ServerSettings, url: RedisUrl) -> None:
    """Whether it can be read from and written to. Raises NotServing for a replica, Misconfigured for what never can."""
    if int(settings.version.partition(".")[0] or 0) < _VERSION_MIN:
        raise Misconfigured(
            f"{settings.server} is version {settings.version}; a write buffer needs {_VERSION_MIN}.0 or newer"
        )
    if settings.is_cluster and url.scheme != "redis+cluster":
        raise Misconfigured(
            f"{settings.server} is a node of a cluster; write redis+cluster:// in place of {url.scheme}://"
        )
    if settings.master is not None:
        raise NotServing(
            f"{settings.server} is a replica of {settings.master}; name that one, or use redis+sentinel://"
        )


def check_durability(settings: ServerSettings, url: RedisUrl) -> None:
    """Raises Misconfigured where the server gives less than the URL asks, NotServing where replicas are missing."""
    where = f"write buffer {url.shown}: {settings.server}"
    if settings.eviction != "noeviction":
        raise Misconfigured(
            f"{where} may evict records (maxmemory-policy {settings.eviction}): set maxmemory-policy noeviction",
            asked="noeviction",
            found=settings.eviction,
        )
    if DURABILITIES.index(settings.grade) < DURABILITIES.index(url.durability):
        raise Misconfigured(
            f"{where} does not give durability {url.durability}: {_why_less(settings, url.durability)}; or accept "
            f"less with durability={settings.grade} in the URL",
            asked=url.durability,
            found=settings.grade,
        )
    if settings.replicas < url.replicas:
        raise NotServing(
            f"{where} has {settings.replicas} of the {url.replicas} replicas that every record must reach",
            asked=url.replicas,
            found=settings.replicas,
        )


def check_master(link: Link) -> None:
    """Of a server that was one when it was connected to. Raises NotServing."""
    info = _parse_info(link.call(b"INFO", b"replication"))
    if info.get("role") != "master":
        raise NotServing(f"{link.server} is a replica of {info.get('master_host')}:{info.get('master_port')} now")


def promise(found: Sequence[ServerSettings], url: RedisUrl) -> str:
    """For Durable.durability. Of several servers (a cluster's) each one that differs is said, the weakest first."""
    by_kept: dict[str, ServerSettings] = {}
    for settings in sorted(found, key=lambda one: DURABILITIES.index(one.grade)):
        by_kept.setdefault(_kept(settings), settings)
    copied = f", and {url.replicas} replicas have it in memory" if url.replicas else ""
    return "; ".join(
        f"{settings.server} (version {settings.version}, {settings.replicas} replicas): {kept}{copied}"
        for kept, settings in by_kept.items()
    )


def _kept(settings: ServerSettings) -> str:
    if settings.appendfsync is None:
        file = "an append-only file" if settings.appendonly else "no append-only file"
        return f"{file}; it does not show when it syncs (CONFIG is forbidden)"
    if not settings.appendonly:
        return "no append-only file: what is acknowledged is lost with the server"
    if settings.grade == "always":
        return "append-only file synced to disk before each acknowledgement"
    if settings.appendfsync == "no":
        return "append-only file, synced when the operating system likes: a power cut loses what was not"
    return "append-only file synced each second: a power cut loses up to the last seconds"


def _why_less(settings: ServerSettings, asked: Durability) -> str:
    if not settings.appendonly:
        return f"it keeps no append-only file; set appendonly yes and appendfsync {asked}"
    if settings.appendfsync is None:
        return "it does not show its settings; let this user call CONFIG GET (ACL: +config|get)"
    if settings.appendfsync == "always":
        return "it does not sync while it rewrites its file; set no-appendfsync-on-rewrite no"
    return f"its appendfsync is {settings.appendfsync}; set appendfsync {asked}"


def _parse_info(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}
