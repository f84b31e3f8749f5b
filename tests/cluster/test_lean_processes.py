"""What the processes of a cluster do not load, though it is installed."""

import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

from tests.support.process_cluster import CALM, ProcessCluster
from tests.support.wait import wait_until

COMMANDS = (
    ["status"],
    ["schema", "show"],
    ["fsck", "--deep"],
    ["query", "SELECT * FROM m", "--namespace", "metrics"],
    ["replay", "--sequencer", "0", "--from-offset", "0", "--dry-run"],
)


def ran_without_pandas(arguments: list[str]) -> bool:
    """Whether a command ended well, in a process of its own, and pandas was not imported there."""
    code = (
        "import sys\n"
        "from penstock.cli import cli\n"
        f"code = cli({arguments!r}, standalone_mode=False)\n"
        "sys.exit(code or ('pandas' in sys.modules))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def loads_pandas(pid: int) -> bool:
    return "/pandas/" in Path(f"/proc/{pid}/maps").read_text()


def test_no_process_of_a_cluster_loads_pandas(tmp_path: Path) -> None:
    """pyarrow would import it in each: 50 MB and 0.2 s of its start."""
    assert find_spec("pandas") is not None
    with ProcessCluster(tmp_path, 1, CALM) as cluster:
        url = f"http://127.0.0.1:{cluster.port}/api/v2/write?bucket=metrics"
        urllib.request.urlopen(url, data=b'm,host=a f=1,s="text",b=true 1600000000000000000', timeout=60).close()
        wait_until(lambda: cluster.get("ingester-0", "/status")["rows_buffered"])
        pids = {name: cluster.pid(name) for name in cluster.names}
        pids |= {f"worker {pid}": pid for pid in cluster.workers()}
        assert {name for name, pid in pids.items() if loads_pandas(pid)} == set()
        data = ["--data", str(cluster.data)]
        for command in COMMANDS:
            assert ran_without_pandas([*command, *data]), command
        assert ran_without_pandas(["log", "dump", "--decode", str(cluster.data)])


def test_pandas_can_be_imported_after_it_was_kept_out() -> None:
    """By whoever needs it, such as a write buffer of one's own; pyarrow knows it then."""
    code = """
import sys, pyarrow
from common.pandas_unused import keep_pandas_out
keep_pandas_out()
pyarrow.array(["a"])
assert "pandas" not in sys.modules
assert pyarrow.table({"a": [1]}).to_pandas()["a"].tolist() == [1]
import pandas
assert pyarrow.array(pandas.Series([1, 2])).to_pylist() == [1, 2]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
