"""What an idle cluster costs: the share of one core that each process of `penstock up` takes while nobody uses it.

A cluster of 4 sequencers on free ports in a scratch folder; once it is ready and has settled, the processor time of
each of its processes over the measured stretch, as the kernel counts it (in steps of 10 ms). The goal is 1 % for all
of them together.

    python -m bench.idle [--seconds 30] [--sequencers 4] [--folder DIR] [--json]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench._measure import report

GOAL_PERCENT = 1.0
SETTLE_S = 3.0
"""The work of a start (claims, first looks at the store) is not idling."""
READY_S = 60.0
STOP_S = 60.0


@contextmanager
def cluster(folder: Path, sequencers: int) -> Iterator[psutil.Process]:
    """`penstock up`, ready; stopped in order at the end."""
    arguments = ["--data", str(folder / "data"), "--sequencers", str(sequencers)]
    for option in ("--port", "--http-port", "--flight-port"):
        arguments += [option, "0"]
    output = folder / "output"
    with output.open("wb") as file:
        up = subprocess.Popen(
            [sys.executable, "-m", "penstock", "up", *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        _await_ready(up, output)
        yield psutil.Process(up.pid)
    finally:
        up.terminate()
        up.wait(STOP_S)


def _await_ready(up: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while b"penstock is ready" not in output.read_bytes():
        if up.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"the cluster did not start:\n{output.read_text(errors='replace')}")
        time.sleep(0.1)


def shares(up: psutil.Process, seconds: float) -> dict[str, float]:
    """Percent of one core by process over `seconds`, the supervisor as `up`."""
    processes = {"up": up} | {_name(child): child for child in up.children(recursive=True)}
    time.sleep(SETTLE_S)
    started_s = time.monotonic()
    before = {name: _cpu_s(process) for name, process in processes.items()}
    time.sleep(seconds)
    after = {name: _cpu_s(process) for name, process in processes.items()}
    measured_s = time.monotonic() - started_s
    return {name: round(100 * (after[name] - before[name]) / measured_s, 3) for name in sorted(processes)}


def _name(child: psutil.Process) -> str:
    """`router`, or `ingester-N` of a command that ends in `ingester --sequencer N`."""
    command = child.cmdline()
    return f"ingester-{command[-1]}" if "--sequencer" in command else command[-1]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    used: float = times.user + times.system
    return used


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        with cluster(Path(folder), options.sequencers) as up:
            found = shares(up, options.seconds)
    total = round(sum(found.values()), 3)
    lines = [
        f"an idle cluster of {options.sequencers} sequencers over {options.seconds:g} s, in percent of one core",
        *(f"{name:<14}{share:>7.2f}" for name, share in found.items()),
        f"{'all':<14}{total:>7.2f}   (goal: {GOAL_PERCENT:g})",
    ]
    values = {
        "seconds": options.seconds,
        "sequencers": options.sequencers,
        "percent_of_a_core": found,
        "percent_of_a_core_in_all": total,
    }
    report(lines, values, as_json=options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the measurement (30)")
    parser.add_argument("--sequencers", type=int, default=4, help="of the cluster (4)")
    parser.add_argument("--folder", default=None, help="for the cluster's data (default: the temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
