"""What is said about the durability of one Redis server, and of several that differ."""

from dataclasses import replace

from writebuffer.redis.durability import ServerSettings, promise
from writebuffer.redis.url import parse

URL = parse("redis+cluster://a?durability=none")
SYNCED = ServerSettings(
    server="redis a:1",
    version="7.0.15",
    is_cluster=True,
    master=None,
    replicas=0,
    eviction="noeviction",
    appendonly=True,
    appendfsync="always",
    no_fsync_on_rewrite=False,
)


def test_servers_that_keep_a_record_alike_are_said_once() -> None:
    """With the first of them as the example."""
    said = promise([SYNCED, replace(SYNCED, server="redis b:1")], URL)
    assert said == "redis a:1 (version 7.0.15, 0 replicas): append-only file synced to disk before each acknowledgement"


def test_each_that_keeps_it_otherwise_is_said_and_the_weakest_first() -> None:
    """In any order of the sequencers: a record is as safe as its own server makes it."""
    lazy = replace(SYNCED, server="redis b:1", appendfsync="everysec")
    none = replace(SYNCED, server="redis c:1", appendonly=False, appendfsync="no")
    for servers in ([SYNCED, lazy, none], [none, SYNCED, lazy], [lazy, none, SYNCED]):
        said = promise(servers, URL).split("; ")
        assert [one.partition(" (")[0] for one in said] == ["redis c:1", "redis b:1", "redis a:1"]
        assert "lost with the server" in said[0]
        assert "each second" in said[1]
