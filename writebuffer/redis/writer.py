"""The Redis backend's Writer: one Appender for each sequencer."""

from collections.abc import Sequence
from concurrent.futures import Future
from threading import Event, Thread
from typing import Any

from common.values.ids import SequencerId
from writebuffer.checks import check_append
from writebuffer.contract import Appended, AppendedRange
from writebuffer.errors import Closed
from writebuffer.record import Record
from writebuffer.redis.appender import Appender
from writebuffer.waiting import await_appends


class RedisWriter:
    """Implements Writer and Durable. Several at once are fine, each with an order of its own."""

    def __init__(self, appenders: Sequence[Appender], url: str, durability: str) -> None:
        self._appenders = appenders
        self._url = url
        self._durability = durability
        self._closed = False
        self._all_closed = Event()
        Thread(target=self._expire, name="redis-deadlines", daemon=True).start()

    def sequencers(self) -> Sequence[SequencerId]:
        return [SequencerId(number) for number in range(len(self._appenders))]

    def append(self, sequencer: SequencerId, record: Record) -> "Future[Appended]":
        return self._submit(sequencer, [record], single=True)

    def append_many(self, sequencer: SequencerId, records: Sequence[Record]) -> "Future[AppendedRange]":
        """Records that the server has already (sent again after a lost answer) resolve to the offsets they have."""
        return self._submit(sequencer, list(records), single=False)

    def flush(self, timeout_s: float) -> None:
        self._check_open()
        futures = [future for appender in self._appenders for future in appender.unresolved()]
        await_appends(futures, timeout_s, self._url)

    def close(self) -> None:
        """Every append resolves within the URL's timeout_s, at most CLOSE_S; this takes at most a second longer.

        A thread that hangs in a connect to a silent server ends by itself some seconds later, and appends nothing.
        """
        if self._closed:
            return
        self._closed = True
        closing = [Thread(target=appender.close, name="redis-close") for appender in self._appenders]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()
        self._all_closed.set()

    def durability(self) -> str:
        """As the servers' settings were when the writer was opened; below what the URL asks it never goes on."""
        return self._durability

    def break_with(self, cause: Exception) -> None:
        """Every thread of it dies of `cause` at its next step."""
        for appender in self._appenders:
            appender.break_with(cause)

    def _submit(self, sequencer: SequencerId, records: Sequence[Record], *, single: bool) -> "Future[Any]":
        self._check_open()
        check_append(sequencer, len(self._appenders), records)
        return self._appenders[sequencer].submit(records, single=single)

    def _expire(self) -> None:
        """Fail appends at their deadlines, also while the appenders' own threads hang."""
        pause_s = 0.0
        try:
            while not self._all_closed.wait(max(0.0, pause_s)):
                pause_s = min(appender.expire() for appender in self._appenders)
        except Exception as error:  # noqa: BLE001  without deadlines no future may be left to hang
            self.break_with(error)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self._url}: the writer was closed")
