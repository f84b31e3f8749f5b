"""How a person types the command `penstock` here, so that what is printed to try works as it stands."""

import shlex
import shutil
import sys
from pathlib import Path


def typed_command() -> str:
    """`penstock` when that on PATH is the one that runs, else the way to the running one from this folder."""
    running = Path(sys.argv[0])
    if running.suffix == ".py":
        return f"{_from_here(Path(sys.executable))} -m penstock"
    on_path = shutil.which("penstock")
    if on_path is not None and Path(on_path).samefile(running):
        return "penstock"
    return _from_here(running)


def _from_here(path: Path) -> str:
    path = path.absolute()
    here = Path.cwd()
    if not path.is_relative_to(here):
        return shlex.quote(str(path))
    below = path.relative_to(here)
    return shlex.quote(str(below) if below.parent.parts else f"./{below}")
