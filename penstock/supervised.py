"""A child of `penstock up` stops itself when its supervisor is gone.

The supervisor holds the write end of the child's stdin and never writes: end of file means that it died, however it
died. The child then stops in its own ordered way, as after SIGTERM.
"""

import os
import signal
import threading

VARIABLE = "PENSTOCK_SUPERVISED"


def stop_with_supervisor() -> None:
    """Watch stdin from a thread of its own, when this process was started by a supervisor."""
    if os.environ.get(VARIABLE) == "1":
        threading.Thread(target=_await_end_of_file, name="supervisor-watch", daemon=True).start()


def _await_end_of_file() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
