"""An object store in S3, GCS, Azure or this process's memory, through obstore."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
import obstore.store
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

from common.store.objects import AlreadyExists, NotFound, StoredObject
from common.values.errors import Misconfigured, Unavailable, Written

if TYPE_CHECKING:
    from obstore.store import ObjectStore as AnyStore
    from obstore.store import RetryConfig

_RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
"""Short: the caller tries again with a back-off of its own and logs it; obstore's default waits three minutes."""


class CloudStore:
    """An ObjectStore over obstore. Credentials and endpoint come from the environment, as obstore reads it."""

    def __init__(self, url: str) -> None:
        """`url`: s3://bucket/prefix, gs://…, az://… or memory:. Raises Misconfigured for what obstore refuses."""
        self.url = url
        try:
            self._store: AnyStore = self._open(url)
        except (BaseError, ValueError, TypeError) as error:
            raise Misconfigured(f"object store {url!r}: {error}", url=url) from error

    @staticmethod
    def _open(url: str) -> "AnyStore":
        if urlsplit(url).scheme == "memory":
            return obstore.store.MemoryStore()
        return obstore.store.from_url(url, retry_config=_RETRY)

    def put(self, path: str, data: bytes) -> None:
        with _translated(path, "unknown"):
            obstore.put(self._store, path, data)

    def put_if_absent(self, path: str, data: bytes) -> None:
        with _translated(path, "unknown"):
            obstore.put(self._store, path, data, mode="create")

    def get(self, path: str) -> bytes:
        with _translated(path, "no"):
            return obstore.get(self._store, path).bytes().to_bytes()

    def make_durable(self, path: str) -> None:
        """Nothing to do: a cloud shows no object that is not durable."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with _translated(prefix, "no"):
            for page in obstore.list(self._store, prefix or None):
                for found in page:
                    modified_ns = round(found["last_modified"].timestamp() * 1_000_000) * 1_000
                    yield StoredObject(found["path"], found["size"], modified_ns)

    def delete(self, path: str) -> None:
        with _translated(path, "unknown"):
            try:
                obstore.delete(self._store, path)
            except (NotFoundError, FileNotFoundError):
                return

    def local_path(self, path: str) -> str | None:
        return None


@contextmanager
def _translated(path: str, written: Written) -> Iterator[None]:
    """obstore's errors as penstock's. Only the two that every store reports alike are distinguished."""
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise NotFound(f"no object at {path}", path=path) from error
    except AlreadyExistsError as error:
        raise AlreadyExists(f"object {path} exists already", path=path) from error
    except (BaseError, OSError) as error:
        raise Unavailable(f"object store: {path}: {error}", written=written, path=path) from error
