"""A child of `penstock up` stops itself when its supervisor is gone.

The supervisor holds the write end of the child's stdin and never writes: end of file means that it died, however it
died. The child then stops in its own ordered way, as after SIGTERM, and has as long for it as the supervisor would give
it; after that it ends at once, which loses nothing that was acknowledged.
"""

import os
import signal
import threading
import time

from penstock import exit_codes

VARIABLE = "PENSTOCK_SUPERVISED_STOP_TIMEOUT_S"
"""Set by the supervisor for its children: how long their ordered stop may take."""


def stop_with_supervisor() -> None:
    """Watch stdin from a thread of its own, when this process was started by a supervisor."""
    if stop_timeout_s := os.environ.get(VARIABLE):
        threading.Thread(
            target=_outlive_briefly, args=[float(stop_timeout_s)], name="supervisor-watch", daemon=True
        ).start()


def _outlive_briefly(stop_timeout_s: float) -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(stop_timeout_s)
    os._exit(exit_codes.FAILED)
