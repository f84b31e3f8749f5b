"""What to do where the server of a write buffer does not answer a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.values.errors import Unavailable


@contextmanager
def advising(url: str) -> Iterator[None]:
    """An Unavailable raised inside also says what to check. url: what the caller calls the buffer's URL."""
    try:
        yield
    except Unavailable as error:
        error.message = f"{error.message.rstrip('.')}; check that it runs and that {url} has its host and port"
        error.args = (error.message,)
        raise
