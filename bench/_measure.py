"""What every benchmark needs: medians, and the machine the figures belong to."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MB = 1_000_000


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """Least and greatest, for a reader to judge the median by."""
    return f"{min(values):.1f}..{max(values):.1f}"


def machine() -> dict[str, Any]:
    """Processor, cores, kernel and Python: figures mean nothing without them."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def machine_line() -> str:
    found = machine()
    return f"{found['cores']} × {found['cpu']}, Linux {found['kernel']}, CPython {found['python']}"


def report(lines: Sequence[str], values: dict[str, Any], *, as_json: bool) -> None:
    """Print `values` with the machine as one JSON object, or the lines below a line for the machine."""
    if as_json:
        print(json.dumps({"machine": machine(), **values}))
    else:
        print("\n".join((machine_line(), *lines)))


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
