"""The data folder of an embedded cluster: made by `penstock up` and held by it.

One `up` for each folder: cluster.lock is locked (flock) as long as the supervisor lives, however it ends, and
names its pid and start time in the message to a second one.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from common.store.disk import LocalDisk, Locked
from common.values.config import ClusterConfig
from common.values.errors import Misconfigured

LOCK = "cluster.lock"


def is_there(folder: Path) -> bool:
    """Whether there is something. Raises Misconfigured where this user may not look."""
    try:
        return folder.exists()
    except PermissionError as error:
        raise Misconfigured(
            f"data folder {folder}: {error.strerror}; run this command as a user who may read it, or correct --data"
        ) from None


def make(cluster: ClusterConfig) -> Path:
    """The folder, made if its parent exists. Raises Misconfigured."""
    folder = cluster.data_folder
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        cause = "a file is there" if isinstance(error, FileExistsError) else error.strerror
        reason = f"it cannot be made ({cause}); give a folder that this user may write (--data)"
        if not is_there(folder.parent):
            reason = f"{folder.parent} does not exist; make it first, or correct --data"
        raise Misconfigured(f"data folder {folder}: {reason}", data=cluster.data) from None
    return folder


@contextmanager
def held(folder: Path, now_ns: int) -> Iterator[None]:
    """Hold the folder for this process. Raises Misconfigured naming the pid that holds it, and since when."""
    holder = {"pid": os.getpid(), "since": datetime.fromtimestamp(now_ns // 10**9, UTC).isoformat()}
    try:
        lock = LocalDisk().lock(str(folder / LOCK), json.dumps(holder).encode())
    except Locked as locked:
        raise Misconfigured(
            f"data folder {folder} is held by another `penstock up`: {_shown(locked.holder)}; stop that one, or give "
            "another folder with --data",
            folder=str(folder),
        ) from None
    except OSError as error:
        raise Misconfigured(
            f"data folder {folder}: {LOCK} cannot be made in it ({error.strerror}); give a folder that this user may "
            "write (--data)"
        ) from None
    try:
        yield
    finally:
        lock.close()


def _shown(holder: bytes) -> str:
    try:
        values = json.loads(holder)
        return f"pid {values['pid']} since {values['since']}"
    except (ValueError, KeyError, TypeError):
        return "it is just starting"
