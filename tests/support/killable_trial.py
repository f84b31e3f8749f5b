"""The process in which an ingester tries records, of a build that does not survive those of KILL_TABLE."""

import sys

from ingester.following.trial import serve
from tests.support.killable import kill_over_table

if __name__ == "__main__":
    kill_over_table()
    serve(sys.stdin.buffer, sys.stdout.buffer)
