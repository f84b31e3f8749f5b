"""Keeps the processes of an embedded cluster alive, merges their logs, and stops them in order.

Children are given in stages, the order they are stopped in. SIGINT, SIGTERM or SIGHUP stops stage after stage; a second
one kills what is left at once, which loses nothing that was acknowledged. A child whose configuration is refused
(restart.py) ends the whole cluster, with the reason.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence

from common.signals import ORDERED_STOP, stop_signals
from common.values.clock import Clock
from penstock.cluster.child import Child, ChildSpec, GivenUp
from penstock.cluster.merged_log import MergedLog
from penstock.terminal import exit_codes

_SIGNALS = (*ORDERED_STOP, signal.SIGHUP)
_PATIENCE_S = 10.0
"""How often it is said which children are still waited for."""

_TELLING = {exit_codes.UNAVAILABLE, exit_codes.FENCED, exit_codes.CORRUPT}
"""Codes that say what to do also when the whole cluster exits with them, where all children that failed agree."""


class Supervisor:
    """`run` starts all children and returns the exit code. `on_ready` is called once, when all have been ready.

    verdict: what became of the rows, asked after a stop, when all have ended; the last line of the log.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[ChildSpec]],
        clock: Clock,
        on_ready: Callable[[], None],
        verdict: Callable[[], str],
    ) -> None:
        self._log = MergedLog([spec.name for stage in stages for spec in stage])
        self._stages = [[self._child(spec, clock) for spec in stage] for stage in stages]
        self._children = [child for stage in self._stages for child in stage]
        self._on_ready = on_ready
        self._verdict = verdict
        self._stop_asked = asyncio.Event()
        self._kill_asked = asyncio.Event()

    def _child(self, spec: ChildSpec, clock: Clock) -> Child:
        return Child(
            spec, clock, log=lambda line: self._log.write(spec.name, line), say=self._log.say, warn=self._log.warn
        )

    async def run(self) -> int:
        """Until a signal, or until a child is given up.

        0 after an ordered stop, 3 where it was in order but for a store or buffer that was away.
        """
        in_loop = asyncio.get_running_loop().call_soon_threadsafe
        try:
            with stop_signals(
                first=lambda number: in_loop(self._ask_stop, number),
                again=lambda number: in_loop(self._kill_asked.set),
                numbers=_SIGNALS,
            ):
                return await self._run()
        finally:
            self._log.close()

    async def _run(self) -> int:
        keepers = [asyncio.create_task(child.keep()) for child in self._children]
        announcement = asyncio.create_task(self._announce())
        stop_asked = asyncio.create_task(self._stop_asked.wait())
        await asyncio.wait({stop_asked, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        announcement.cancel()
        stop_asked.cancel()
        codes = await self._stop()
        code = self._exit_code(await asyncio.gather(*keepers), codes)
        if self._stop_asked.is_set():
            self._log.say(await asyncio.to_thread(self._verdict))
        return code

    def _ask_stop(self, number: int) -> None:
        self._log.say(f"{signal.Signals(number).name}: stopping; a second signal kills all at once")
        self._stop_asked.set()

    async def _announce(self) -> None:
        while waited_for := [child for child in self._children if not child.was_ready.is_set()]:
            waits = [asyncio.create_task(child.was_ready.wait()) for child in waited_for]
            _, late = await asyncio.wait(waits, timeout=_PATIENCE_S)
            if late:
                names = [child.name for child in waited_for if not child.was_ready.is_set()]
                self._log.say(f"still waiting for {', '.join(names)} to become ready")
            for wait in late:
                wait.cancel()
        self._on_ready()

    async def _stop(self) -> set[int]:
        """The exit codes of the children that did not stop in order."""
        codes: list[int] = []
        for stage in self._stages:
            codes += await asyncio.gather(*(child.stop(self._kill_asked) for child in stage))
        return {code for code in codes if code}

    def _exit_code(self, outcomes: Sequence[GivenUp | None], codes: set[int]) -> int:
        for given_up in filter(None, outcomes):
            self._log.warn(f"the cluster was stopped because {given_up.name} cannot start: {given_up.last_line}")
            return given_up.code
        if self._kill_asked.is_set():
            return exit_codes.INTERRUPTED
        if len(codes) == 1 and codes <= _TELLING:
            return codes.pop()
        return exit_codes.FAILED if codes else exit_codes.OK
