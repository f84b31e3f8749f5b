"""One child process of a supervisor, and its successors: started, watched, started again, stopped.

Each child has a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which stops its children
in order. Its stdin is a pipe that nobody writes to: end of file means that the supervisor is gone (process.py).
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from common.values.clock import Clock
from penstock.cluster.process import SUPERVISED
from penstock.cluster.restart import GiveUp, RestartAfter, RestartPolicy
from penstock.terminal import exit_codes

Say = Callable[[str], None]

_READY_POLL_S = 0.1
_READY_TIMEOUT_S = 2.0
_DRAIN_S = 1.0
"""How long to wait for an ended child's last lines; a grandchild may keep the pipe open for ever."""
_LINE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a child is started and stopped. `ready_url` answers 200 and JSON with its `pid` once it is ready."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    ready_url: str
    stop_timeout_s: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A child that is not started again: its exit code and the last line it printed."""

    name: str
    code: int
    last_line: str


class Child:
    """log: for the lines that the child prints. say: for what happens to it; warn: for what should not happen."""

    def __init__(self, spec: ChildSpec, clock: Clock, log: Say, say: Say, warn: Say) -> None:
        self.name = spec.name
        self.was_ready = asyncio.Event()
        self._spec = spec
        self._policy = RestartPolicy(clock)
        self._log = log
        self._say = say
        self._warn = warn
        self._stopping = asyncio.Event()
        self._spawning = asyncio.Lock()
        self._life: _Life | None = None
        self._failure = 0
        """The exit code of its last end that nobody asked for, until it is ready again; a signal is no failure."""

    async def keep(self) -> GivenUp | None:
        """Start it, and start it again whenever it ends; returns when it is stopped or given up."""
        while not self._stopping.is_set():
            end = await self._live()
            if end is None or self._stopping.is_set():
                return None
            self._failure = max(0, end.code)
            match self._policy.exited(end.code):
                case GiveUp():
                    return GivenUp(self.name, end.code, end.last_line)
                case RestartAfter(delay_s):
                    self._warn(f"{self.name} {end.how}; starts again in {delay_s:g} s")
                    await _wait(self._stopping, delay_s)
        return None

    async def stop(self, kill: asyncio.Event) -> int:
        """End it for good; returns its exit code, 0 also when it had no handler yet.

        Where it keeps failing, between two tries or before it is ready again, that is the code of its last failure.

        SIGTERM, then SIGKILL of its whole session at the timeout, or at once when `kill` is set.
        """
        self._stopping.set()
        async with self._spawning:
            life = self._life
        if life is None or life.ended.is_set():
            return self._failure
        life.signal(signal.SIGTERM)
        timeout = asyncio.create_task(_wait(kill, self._spec.stop_timeout_s))
        ended = asyncio.create_task(life.ended.wait())
        await asyncio.wait({timeout, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not life.ended.is_set():
            late = f"it did not stop in {self._spec.stop_timeout_s:g} s"
            reason = "a second signal asked for it" if kill.is_set() else late
            self._warn(f"{self.name} is killed: {reason}. Nothing acknowledged is lost")
            life.kill_session()
        await ended
        timeout.cancel()
        self._say(f"{self.name} {_ended(life.code)}")
        return self._failure if life.code in (0, -signal.SIGTERM) else life.code

    async def _live(self) -> "_End | None":
        """One process from its start to its end; None when it is to be stopped before it was started."""
        async with self._spawning:
            if self._stopping.is_set():
                return None
            self._policy.started()
            try:
                life = self._life = await _Life.begin(self._spec, self._log)
            except (OSError, RuntimeError) as error:  # no process, no memory, or no thread to wait for it with
                return _End(exit_codes.FAILED, f"could not be started: {error}", str(error))
        self._say(f"{self.name} started, pid {life.pid}")
        watch = asyncio.create_task(self._watch_ready(life.pid))
        await life.ended.wait()
        watch.cancel()
        await life.finish()
        return _End(life.code, _ended(life.code), life.last_line)

    async def _watch_ready(self, pid: int) -> None:
        while not await answers_ready(self._spec.ready_url, pid):
            await asyncio.sleep(_READY_POLL_S)
        self._policy.ready()
        self._failure = 0
        self.was_ready.set()
        self._say(f"{self.name} is ready")


@dataclass(frozen=True, slots=True)
class _End:
    """How a process ended, or why none was started, in words that follow the child's name."""

    code: int
    how: str
    last_line: str


class _Life(asyncio.SubprocessProtocol):
    """One process. Asyncio's own wait() returns only when the pipes are closed too, which a grandchild can prevent."""

    _transport: asyncio.SubprocessTransport

    def __init__(self, log: Say) -> None:
        self.ended = asyncio.Event()
        self.last_line = ""
        self._drained = asyncio.Event()
        self._log = log
        self._rest = b""

    @classmethod
    async def begin(cls, spec: ChildSpec, log: Say) -> "_Life":
        transport, life = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(log),
            *spec.command,
            stderr=asyncio.subprocess.STDOUT,
            env={**spec.environ, SUPERVISED: str(spec.stop_timeout_s)},
            start_new_session=True,
        )
        life._transport = transport
        return life

    @property
    def pid(self) -> int:
        pid: int = self._transport.get_pid()
        return pid

    @property
    def code(self) -> int:
        code = self._transport.get_returncode()
        assert code is not None
        return code

    def signal(self, number: int) -> None:
        self._transport.send_signal(number)

    def kill_session(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def finish(self) -> None:
        await _wait(self._drained, _DRAIN_S)
        self._transport.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_BYTES_MAX:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._pass_on(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            if self._rest:
                self._pass_on(self._rest)
            self._drained.set()

    def process_exited(self) -> None:
        self.ended.set()

    def _pass_on(self, line: bytes) -> None:
        self.last_line = line.decode(errors="replace")
        self._log(self.last_line)


async def answers_ready(url: str, pid: int) -> bool:
    """Whether a GET of `url` (http://host:port/path) is answered with 200, and by process `pid`.

    Another process may have the port; that it is ready says nothing about the child.
    """
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read(_LINE_BYTES_MAX)
                while more := await reader.read(_LINE_BYTES_MAX):
                    answer += more
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.split()[1:2] == [b"200"] and json.loads(body)["pid"] == pid
    except (OSError, TimeoutError, ValueError, KeyError, TypeError):
        return False


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return


def _ended(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    if not code:
        return "stopped"
    meaning = exit_codes.MEANINGS.get(code)
    return f"exited with {code} ({meaning})" if meaning else f"exited with {code}"
