"""What the store and the write buffer do for the router's core, and which event answers each of its actions.

Parsing is in workers/. Written once for every driver: the service runs these on its threads, the simulation and tests
step by step. An error of any kind becomes the event that says so, so that every request is answered.
"""

from collections.abc import Callable
from concurrent.futures import Future

from common.catalog.schema_store import SchemaStore
from common.logs import Logger
from common.store.objects import Steps
from common.values.errors import PenstockError, Unavailable
from router.core.events import Append, AppendDone, AppendFailed, Settle, Settled, SettleFailed
from router.settling import Settling
from writebuffer.contract import AppendedRange, Writer


class Performer:
    """For one router. `cancel` and `forget` may be called from another thread than the one that settles."""

    def __init__(self, schemas: SchemaStore, log: Logger) -> None:
        self._schemas = schemas
        self._log = log
        self._cancelled: set[int] = set()

    def settle(self, action: Settle) -> Steps[Settled | SettleFailed]:
        """As settling.py says, as long as somebody waits; the steps may run on any thread."""
        settling = Settling(self._schemas, action, lambda: action.batch_id not in self._cancelled)
        try:
            yield from settling.run()
        except Exception as error:  # noqa: BLE001  after any error the requests of this batch must be answered
            return SettleFailed(action.batch_id, self._known_error(error), settling.schemas)
        return Settled(action.batch_id, settling.schemas, settling.refused)

    def append(self, action: Append, writer: Writer, report: Callable[[AppendDone | AppendFailed], None]) -> None:
        """Ask for the append before returning: the order of calls is the order of producer sequences.

        report: called once, on the backend's thread or before this returns.
        """
        try:
            appending = writer.append_many(action.sequencer, action.records)
        except Exception as error:  # noqa: BLE001  as above
            report(self._append_failed(action, error))
            return
        appending.add_done_callback(lambda done: report(self._appended(action, done)))

    def cancel(self, batch_id: int) -> None:
        """Nobody waits for this batch any longer: what is under way for it ends soon, with its failure."""
        self._cancelled.add(batch_id)

    def forget(self, batch_id: int) -> None:
        """The batch is finished."""
        self._cancelled.discard(batch_id)

    def _appended(self, action: Append, done: "Future[AppendedRange]") -> AppendDone | AppendFailed:
        if done.cancelled():
            cancelled = Unavailable("the write buffer cancelled the append: send again", written="unknown")
            return self._append_failed(action, cancelled)
        if error := done.exception():
            return self._append_failed(action, error)
        return AppendDone(action.batch_id, action.sequencer, done.result().last.offset)

    def _append_failed(self, action: Append, error: BaseException) -> AppendFailed:
        return AppendFailed(action.batch_id, action.sequencer, self._known_error(error))

    def _known_error(self, error: BaseException) -> PenstockError:
        """A defect answers the requests that it hit and is logged; it must not hang or stop others."""
        if isinstance(error, PenstockError):
            return error
        self._log.error("a worker of the router failed", exc_info=error)
        if isinstance(error, OSError):  # no backend translated it, but it is the machine's fault, not the request's
            return Unavailable(f"the operating system refused: {error}", written="unknown")
        return PenstockError("this is a defect; the router's log has the stack trace")
