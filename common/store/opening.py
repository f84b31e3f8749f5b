"""Which store a URL names, and whether it keeps what penstock needs of it.

file:///path          a local folder through a thin store of our own that really syncs (local.py)
memory:               in this process alone, for tests
s3://… gs://… az://…  through obstore (cloud.py)
"""

from common.store.disk import LocalDisk
from common.store.local import LocalStore
from common.store.objects import AlreadyExists, ObjectStore
from common.values.errors import Misconfigured, Unavailable
from common.values.urls import local_folder


def open_store(url: str) -> ObjectStore:
    """The store that `url` names; nothing is read or written yet. Raises Misconfigured with the right forms."""
    scheme = url.partition(":")[0]
    if scheme == "file":
        folder = local_folder(url)
        if folder is None:
            raise Misconfigured(f"object store {url!r}: a local folder is file:// and an absolute path", url=url)
        return LocalStore(LocalDisk(), folder)
    if scheme in ("memory", "s3", "gs", "az"):
        from common.store.cloud import CloudStore  # obstore is loaded only where a cloud is used

        return CloudStore(url)
    raise Misconfigured(
        f"object store {url!r}: give file:///absolute/path, s3://bucket/prefix, gs://bucket/prefix, "
        "az://container/prefix or memory:",
        url=url,
    )


PROBE = "probe/put-if-absent"


def check_put_if_absent(store: ObjectStore, nonce: str) -> None:
    """Prove at start, with two puts, that the store refuses the second. Raises Misconfigured where it does not."""
    path = f"{PROBE}-{nonce}"
    try:
        store.put_if_absent(path, b"1")
        store.put_if_absent(path, b"2")
    except AlreadyExists:
        return
    else:
        raise Misconfigured(
            f"object store {store.url}: a put-if-absent replaced an object, so two writers would overwrite each "
            "other. Use a store that supports conditional puts",
            url=store.url,
        )
    finally:
        _forget(store, path)


def _forget(store: ObjectStore, path: str) -> None:
    try:
        store.delete(path)
    except Unavailable:
        return  # the probe's object is nobody's, and a byte
