"""Free ports for processes that tests start.

They lie below the range from which the system gives ports to connections, and are this test process's until it ends:
a process that is killed and started again finds its port free, whatever other tests run beside it.
"""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(10_000, 32_000)
_FOLDER = Path(tempfile.gettempdir()) / "penstock-test-ports"

_held: list[int] = []
"""Descriptors of the files that are locked, one for each port that was given."""


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on, and that no other test process was given."""
    _FOLDER.mkdir(exist_ok=True)
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            return found
        if _is_free(port) and _take(port):
            found.append(port)
    raise AssertionError(f"there are no {count} free ports in {_RANGE}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _take(port: int) -> bool:
    """Not from the same process twice either: a lock of another descriptor of its own keeps it out."""
    descriptor = os.open(_FOLDER / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True
