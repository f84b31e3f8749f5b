"""URLs in messages: whole enough to act on, and without a secret."""

import pytest

from common.urls import redacted


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
        ("file:///a:b@c", "file:///a:b@c"),
        ("memory:a", "memory:a"),
        ("no url", "no url"),
    ],
)
def test_secrets_are_masked_and_nothing_else(url: str, shown: str) -> None:
    """Also where a password was not quoted as a URL asks."""
    assert redacted(url) == shown
