"""A supervisor over stub children, as a process: `python -m tests.support.stub_cluster STAGES`.

STAGES: JSON, a list of stages, each a list of stub_child specs, with `stop_timeout_s` where it matters. Prints READY on
stdout when all are ready.
"""

import asyncio
import json
import os
import sys
from typing import Any

from common.values.clock import SystemClock
from penstock.cluster.child import ChildSpec
from penstock.cluster.supervisor import Supervisor


def child(spec: dict[str, Any]) -> ChildSpec:
    return ChildSpec(
        name=spec["name"],
        command=[sys.executable, "-m", "tests.support.stub_child", json.dumps(spec)],
        environ=os.environ,
        ready_url=f"http://127.0.0.1:{spec['port']}/ready",
        stop_timeout_s=spec.get("stop_timeout_s", 20.0),
    )


async def main(stages: list[list[dict[str, Any]]]) -> int:
    specs = [[child(spec) for spec in stage] for stage in stages]
    supervisor = Supervisor(specs, SystemClock(), lambda: print("READY", flush=True), lambda: "the verdict")
    return await supervisor.run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(json.loads(sys.argv[1]))))
