"""One child of the supervisor, where the machine refuses to start it."""

import asyncio
import json
import os
from pathlib import Path

from common.values.clock import SystemClock
from penstock.cluster.child import Child, ChildSpec, GivenUp, answers_ready


async def kept_until(said: str, child_file: Path) -> tuple[list[str], GivenUp | None]:
    """Keep a child whose file appears after the first failed start; stop it once `said` was said of it."""
    heard: list[str] = []
    come = asyncio.Event()

    def hear(text: str) -> None:
        heard.append(text)
        if "could not be started" in text:
            child_file.write_text("#!/bin/sh\nexec cat\n")
            child_file.chmod(0o755)
        if said in text:
            come.set()

    spec = ChildSpec("router", [str(child_file)], os.environ, "http://127.0.0.1:1/ready", 10.0)
    child = Child(spec, SystemClock(), log=heard.append, say=hear, warn=hear)
    keeping = asyncio.create_task(child.keep())
    waiting = asyncio.create_task(come.wait())
    await asyncio.wait({keeping, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    await child.stop(asyncio.Event())
    waiting.cancel()
    return heard, await keeping


def test_a_child_that_the_machine_refuses_to_start_is_started_again(tmp_path: Path) -> None:
    """No process to be had counts as an exit: it is said, and tried again after the pause."""
    heard, outcome = asyncio.run(kept_until("router started, pid", tmp_path / "child"))
    assert outcome is None
    assert heard[0].startswith("router could not be started: [Errno 2]")
    assert heard[0].endswith("; starts again in 0.5 s")
    assert heard[1].startswith("router started, pid")


def test_only_the_child_itself_can_say_that_it_is_ready() -> None:
    """Another process that has the port, ready or not, is not the child."""
    pid = os.getpid()
    assert asyncio.run(answered({"status": "ready", "pid": pid}, asked=pid))
    assert not asyncio.run(answered({"status": "ready", "pid": pid + 1}, asked=pid))
    assert not asyncio.run(answered({"status": "ready"}, asked=pid))
    assert not asyncio.run(answered({"pid": pid}, asked=pid, status=503))


async def answered(body: dict[str, object], asked: int, status: int = 200) -> bool:
    """What answers_ready makes of that answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} Said\r\n\r\n{json.dumps(body)}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await answers_ready(f"http://127.0.0.1:{port}/ready", asked)
