"""A substitute for a router or an ingester, for tests of the supervisor: `python -m tests.support.stub_child SPEC`.

SPEC: JSON with name, port (answers /ready), journal (a file that gets a line for each start and stop), and optionally
`deaf` (ignores SIGTERM), `exit` (ends at once with this code, saying why), `fails` (ends with this code once SIGUSR1
comes, and at once whenever it is started after that).
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from penstock.cluster.process import stop_with_supervisor


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid()}).encode())

    def log_message(self, format: str, *args: object) -> None:
        return


def main(spec: dict[str, Any]) -> int:
    if "exit" in spec:
        print("penstock: error: this stub refuses its settings", file=sys.stderr)
        return int(spec["exit"])
    failed = Path(f"{spec['journal']}.{spec['name']}-failed")
    if failed.exists():
        return int(spec["fails"])
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if spec.get("deaf") else lambda number, frame: stopped.set())
    signal.signal(signal.SIGUSR1, lambda number, frame: (failed.touch(), stopped.set()))
    note(spec, "started")
    stop_with_supervisor()
    print("serving", flush=True)
    server = HTTPServer(("127.0.0.1", spec["port"]), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopped.wait()
    note(spec, "stopped")
    return int(spec["fails"]) if failed.exists() else 0


def note(spec: dict[str, Any], what: str) -> None:
    with Path(spec["journal"]).open("a") as journal:
        journal.write(f"{spec['name']} {what} {os.getpid()}\n")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
