"""URLs in messages: whole enough to act on, and without a secret."""

import pytest

from common.values.urls import is_secret, redacted


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://user:secret@host/0?stream=a", "redis://user:***@host/0?stream=a"),
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("redis://secret@host/0", "redis://***@host/0"),
        ("redis://user:se/cret@host/0", "redis://***@host/0"),
        ("redis://user:se#cret@host/0", "redis://***@host/0"),
        ("redis://user:se?cret@host/0", "redis://***@host/0"),
        ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
        ("kafka://a:1,b:2/t?u=me@corp&sasl.password=x", "kafka://a:1,b:2/t?u=me@corp&sasl.password=***"),
        ("kafka://a/t?sasl.password=p@ss", "kafka://a/t?sasl.password=***"),
        ("kafka://a/t?sasl.password=hu#sh&linger.ms=1", "kafka://a/t?sasl.password=***&linger.ms=1"),
        ("kafka://a/t?sasl.password=hu;sh=x", "kafka://a/t?sasl.password=***"),
        ("kafka://a/t?sasl.pass%77ord=secret", "kafka://a/t?sasl.pass%77ord=***"),
        ("kafka://a/t?ssl.key.pem=-----BEGIN+KEY-----ab==&u=1", "kafka://a/t?ssl.key.pem=***&u=1"),
        ("file:///a:b@c", "file:///a:b@c"),
        ("memory:a", "memory:a"),
        ("no url", "no url"),
    ],
)
def test_secrets_are_masked_and_nothing_else(url: str, shown: str) -> None:
    """Also where a password was not quoted as a URL asks."""
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "ssl_password",
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "SSL.KEY.PEM",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "access_key",
        "session_token",
    ],
)
def test_every_name_of_a_secret_is_known(name: str) -> None:
    """Of librdkafka, of Redis and of object stores."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["sasl.username", "ssl.ca.location", "ssl_keyfile", "linger.ms", "stream", "keepalive"]
)
def test_what_helps_to_find_a_mistake_is_shown(name: str) -> None:
    """A masked URL opens nothing."""
    assert not is_secret(name)
