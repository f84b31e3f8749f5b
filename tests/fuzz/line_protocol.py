"""Fuzz the parser of batches: whatever the bytes, it gives what the model gives.

    python -m tests.fuzz.line_protocol --seconds 60

Needs atheris (`pip install -c constraints.txt -e '.[fuzz]'`; `make fuzz` does both). Inputs that reach new code are
kept in --found and are where the next run begins. An input that makes a difference, or breaks the parser, is kept there
too, as difference-… or crash-…; the run goes on, and exits with 1 at its end. It goes in rounds, a process each; an
input that takes longer than a minute ends its round.
"""

import argparse
import hashlib
import os
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import atheris

with atheris.instrument_imports(include=["router.parsing", "router.lineprotocol"]):
    from router.parsing import batch as _  # noqa: F401

from tests.fuzz.inputs import check_input
from tests.support.lines.equality import Different

_HERE = Path(__file__).parent
CORPUS = _HERE / "corpus" / "line_protocol"
DICTIONARY = _HERE / "line_protocol.dict"
INPUT_BYTES_MAX = 2048

ROUND_S = 240.0
"""So long for one process: atheris keeps some 80 KB for each execution, and libFuzzer ends it at 4 GiB."""

ONE_ROUND = "--one-round"


class Target:
    """What libFuzzer calls for each input; ends the process once its time is over."""

    def __init__(self, kept: Path, seconds: float) -> None:
        self._kept = kept
        self._until = time.monotonic() + seconds
        self._executions = 0
        self._failures: dict[str, set[str]] = {"difference": set(), "crash": set()}

    def __call__(self, data: bytes) -> None:
        if time.monotonic() >= self._until:
            self._finish()
        self._executions += 1
        try:
            check_input(data)
        except Different as difference:
            self._keep("difference", data, str(difference))
        except Exception:  # noqa: BLE001 - whatever breaks a parser is a finding
            self._keep("crash", data, traceback.format_exc(limit=-3))

    def _keep(self, kind: str, data: bytes, text: str) -> None:
        """One input for each place and message, digits left out of account."""
        cause = "".join(char for char in text if not char.isdigit())[:200]
        if cause in self._failures[kind]:
            return
        self._failures[kind].add(cause)
        path = self._kept / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
        path.write_bytes(data)
        print(f"\n{kind} {path}: {data!r}\n{text}", flush=True)

    def _finish(self) -> None:
        differences, crashes = len(self._failures["difference"]), len(self._failures["crash"])
        print(f"\n{self._executions} executions, {differences} differences, {crashes} crashes", flush=True)
        os._exit(1 if differences or crashes else 0)  # libFuzzer runs no exit handlers either


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--found", type=Path, default=Path(".fuzz/line_protocol"), help="kept from run to run")
    parser.add_argument(ONE_ROUND, action="store_true", help="in this process, until it ends")
    options = parser.parse_args()
    if options.one_round:
        fuzz(options.found, options.seconds)
    sys.exit(_rounds(options.found, options.seconds))


def _rounds(found: Path, seconds: float) -> int:
    """The exit code, after as many processes one after the other as the time allows, and what they did in all."""
    executions, failed = 0, []
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 1:
        command = [sys.executable, "-m", "tests.fuzz.line_protocol", ONE_ROUND, "--found", str(found)]
        command += ["--seconds", str(min(left, ROUND_S))]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        executions += sum(map(int, re.findall(r"^(\d+) executions", done.stdout, re.MULTILINE)))
        if done.returncode:
            failed.append(done.returncode)
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"in all {executions} executions, {(cpu.ru_utime + cpu.ru_stime) / 60:.1f} CPU minutes; failed rounds: {failed}"
    )
    return 1 if failed else 0


def fuzz(found: Path, seconds: float) -> NoReturn:
    """One round; exits with 1 where there were findings."""
    corpus, failures = found / "corpus", found / "failures"
    for folder in (corpus, failures):
        folder.mkdir(parents=True, exist_ok=True)
    flags = [f"-dict={DICTIONARY}", f"-max_len={INPUT_BYTES_MAX}", "-timeout=60", "-rss_limit_mb=4096", "-verbosity=1"]
    atheris.Setup(
        [sys.argv[0], *flags, f"-artifact_prefix={failures}/", str(corpus), str(CORPUS)], Target(failures, seconds)
    )
    atheris.Fuzz()
    raise AssertionError("atheris ends the process")


if __name__ == "__main__":
    main()
