"""The connection a writer appends over, made again when it is lost: with growing pauses, until a batch gets through."""

from collections.abc import Callable

from common.logs import Logger
from common.values.errors import PenstockError
from common.values.ids import SequencerId
from writebuffer.redis.history import History
from writebuffer.redis.link import Link
from writebuffer.redis.scripts import APPEND

PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 2.0


class Reconnecting:
    """Used by the appender's thread; only `interrupt` and `trouble` may be by others."""

    def __init__(
        self, first: Link, connect: Callable[[], Link], history: History, sequencer: SequencerId, logger: Logger
    ) -> None:
        """connect: to the server that holds the stream, with settings that will do."""
        self._link: Link | None = first
        self._connect = connect
        self._history = history
        self._sequencer = sequencer
        self._logger = logger
        self.trouble: PenstockError | None = None
        """Why nothing gets through; None while it does. A server that takes connections may still refuse batches."""
        self._pause_s = PAUSE_FIRST_S

    def link(self) -> Link:
        """The connection, made and checked where there is none. Raises Lost, NotServing, Misconfigured, Forked."""
        if self._link is None:
            link = self._connect()
            try:
                self._history.check(link)
                link.call(b"SCRIPT", b"LOAD", APPEND.text)
            except BaseException:
                link.close()
                raise
            self._link = link
        return self._link

    def lost(self, trouble: PenstockError) -> float:
        """Drop it; how long to wait before the next is made. A trouble is logged once, until a batch gets through."""
        self.close()
        if self.trouble is None:
            self._logger.warning("connection lost", sequencer=self._sequencer, reason=trouble.message)
        self.trouble = trouble
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, PAUSE_MAX_S)
        return pause_s

    def got_through(self) -> None:
        """The server did what a batch asked, or refused just that."""
        if self.trouble and self._link:
            self._logger.info("connected again", sequencer=self._sequencer, server=self._link.server)
        self.trouble = None
        self._pause_s = PAUSE_FIRST_S

    def interrupt(self) -> None:
        """From any thread: whoever waits for an answer gets Lost. One that is being made is not met by it."""
        if link := self._link:
            link.interrupt()

    def close(self) -> None:
        link, self._link = self._link, None
        if link:
            link.close()
