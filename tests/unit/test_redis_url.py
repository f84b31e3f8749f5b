"""Redis URLs: each right form is understood, each wrong one refused with the reason and the right form."""

import pytest

from common.values.addresses import Address
from common.values.errors import Misconfigured
from writebuffer.redis import RedisBackend
from writebuffer.redis.url import parse


def test_a_short_url_has_the_documented_defaults() -> None:
    """Port, database, stream, durability, replicas and timeout."""
    url = parse("redis://host")
    assert url.addresses == (Address("host", 6379),)
    assert (url.db, url.stream, url.durability, url.replicas, url.timeout_s) == (0, "penstock", "always", 0, 10.0)
    assert url.ssl is None


def test_everything_that_can_be_said_is_read() -> None:
    """User and password are percent-decoded; options are typed."""
    url = parse("redis://us%65r:p%40%23w@[::1]:7000/3?stream=a.b&durability=none&replicas=2&timeout_s=1.5")
    assert (url.username, url.password, url.addresses, url.db) == ("user", "p@#w", (Address("::1", 7000),), 3)
    assert (url.stream, url.durability, url.replicas, url.timeout_s) == ("a.b", "none", 2, 1.5)


def test_each_scheme_has_its_place() -> None:
    """A socket's path, a service with its sentinels, a cluster's nodes, TLS with its files."""
    assert parse("redis+unix:///run/redis.sock?db=2").socket_path == "/run/redis.sock"
    sentinel = parse("redis+sentinel://a,b:1/service/4?ssl=true&sentinel_password=s")
    assert (sentinel.addresses, sentinel.service, sentinel.db) == ((Address("a", 26379), Address("b", 1)), "service", 4)
    assert (sentinel.ssl, sentinel.sentinel_password) == ({}, "s")
    assert parse("redis+cluster://a:7000,b").addresses == (Address("a", 7000), Address("b", 6379))
    tls = parse("rediss://a?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none")
    assert tls.ssl == {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "none", "ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis:/host", "two slashes"),
        ("redis:host", "two slashes"),
        ("redis://", "where there must be a host"),
        ("redis://a,b/0", "several hosts"),
        ("redis://host:port", "where there must be a host"),
        ("redis://host:70000", "port 70000"),
        ("redis://host/x", "database 'x'"),
        ("redis://host/0/1", "'1' after the database"),
        ("redis://host?stram=x", "unknown option 'stram' .did you mean stream"),
        ("redis://host?stream=a&stream=b", "names an option twice"),
        ("redis://host?stream", "cannot be read"),
        ("redis://host?stream={a}", "braces"),
        ("redis://host?durability=fsync", "always or everysec or none"),
        ("redis://host?replicas=-1", "whole number"),
        ("redis://host?timeout_s=0", "at least 0.1"),
        ("redis://host?ssl_ca_certs=/ca.pem", "unknown option 'ssl_ca_certs'"),
        ("redis://user@host", "without a password"),
        ("redis+sentinel://host", "service"),
        ("redis+cluster://host/1", "no other database"),
        ("redis+cluster://host?ssl_ca_certs=/ca.pem", "not ssl=true"),
        ("redis+unix://host/path", "absolute path"),
        ("redis+unix://", "absolute path"),
        ("redis-sentinel://host/service", "unknown scheme"),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_form(url: str, why: str) -> None:
    """The message says what is wrong and how it is written."""
    with pytest.raises(Misconfigured, match=why) as refused:
        RedisBackend.from_url(url)
    assert "the right form: redis" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@host/0",
        "redis://user:hunter2@host/x",
        "redis://user:hun#hunter2@host",
        "redis://user:hun/hunter2@host",
        "redis://hunter2@host",
        "redis+sentinel://host/service?sentinel_password=hunter2",
        "rediss://host?ssl_password=hunter2&x=1",
    ],
)
def test_no_password_is_ever_shown(url: str) -> None:
    """Neither in the backend's URL, nor in its parsed form, nor in a message about a wrong one."""
    try:
        backend = RedisBackend.from_url(url)
    except Misconfigured as refused:
        shown = f"{refused} {refused.details}"
    else:
        shown = f"{backend.url} {parse(url)!r} {backend.beside('x').url}"
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "url", ["redis://h", "redis://:p@h/1?replicas=1&stream=s", "redis+unix:///a/b?db=1", "redis+sentinel://a,b/svc"]
)
def test_beside_differs_only_in_the_stream(url: str) -> None:
    """Same servers, database and options; its own URL names the other stream."""
    first, beside = parse(url), parse(url).beside("x y".replace(" ", "-"))
    assert beside.stream == f"{first.stream}-x-y"
    same = ("scheme", "addresses", "socket_path", "service", "db", "password", "replicas", "durability")
    assert [getattr(beside, name) for name in same] == [getattr(first, name) for name in same]
