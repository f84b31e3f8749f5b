"""The Redis backend: each sequencer is a Redis stream. Redis 7.0 or newer, or Valkey.

    redis://[user:password@]host[:6379][/0]
    rediss://…                                   the same over TLS
    redis+unix:///path/to/redis.sock[?db=0]
    redis+sentinel://[user:password@]host[:26379],host2[:26379]/service[/0]      that service's master
    redis+cluster://[user:password@]host[:6379],host2[:6379]                     any of its nodes

A password is percent-encoded in the URL; a password without a user is `:password@`. Options after `?`, with `&`:

    stream=penstock       name of the buffer: several in one database have different ones
    durability=always     always | everysec | none: what the server's append-only file must give, or the writer refuses
                          it (the settings are read at each connect). An evicting server is always refused.
    replicas=0            so many replicas must have a record before it is acknowledged, and before it is read
    timeout_s=10          how long an append is tried, over lost connections and failovers, before its future fails;
                          it fails then even where a connection hangs; closing a writer takes a second longer,
                          at most 31 s
    ssl=true              TLS for redis+sentinel and redis+cluster
    ssl_ca_certs= ssl_ca_path= ssl_certfile= ssl_keyfile= ssl_password= ssl_cert_reqs= ssl_check_hostname=
                          as redis-py takes them
    sentinel_username= sentinel_password=        where the sentinels ask for a password of their own

Acknowledged means: the server answered the batch, which with appendfsync always it does after the sync. Readers see no
record earlier, since the server answers them after the sync too; WAITAOF would not change that, and is not used. With
replicas=N a record that reached fewer in time is `written: unknown`: it exists, and may be lost with its server.

What a lost connection left in doubt is sent again; the server recognises what it has already by producer and sequence.
So a lost acknowledgement makes neither a gap nor a second record, and where the server's memory does not reach back far
enough the append fails with `written: unknown`. A record whose producer and sequence are stored already is answered
with the offset of the first one. A failover or a restore that lost acknowledged records is Forked, to writers and
cursors. A master that was demoted by hand is left within seconds, by those who only read too.

Sentinels and nodes of a cluster are asked in the URL's order at each connect, a second or two each: name several. While
a cluster moves a slot, its sequencers are Unavailable from the first key that leaves to the end
(docs/formats/redis.md).
"""

from writebuffer.redis.backend import RedisBackend

__all__ = ["RedisBackend"]
