"""Whether polling goes on: back-pressure reaches the write buffer, nothing is dropped."""

from ingester.core.events import Pause, Resume
from ingester.core.lifecycle import Rules


class Flow:
    """Over a hard limit polling pauses; it goes on once the figures are below the soft limits again.

    The hard limit on the log is twice its soft one: with the store away, what must be remembered of each record above
    the replay offset would grow without bound, however few its rows.
    """

    def __init__(self, rules: Rules) -> None:
        self.paused = False
        self._rules = rules

    def judge(self, held_bytes: int, log_bytes: int, log_records: int) -> Pause | Resume | None:
        """What changes now. held_bytes: of all rows in memory, and of dead letters that wait for the store."""
        rules = self._rules
        log = max(log_bytes / rules.log_bytes_max, log_records / rules.log_records_max)
        if not self.paused and (held_bytes > rules.hard_memory_bytes or log > 2):
            self.paused = True
            return Pause()
        if self.paused and held_bytes <= rules.soft_memory_bytes and log <= 1:
            self.paused = False
            return Resume()
        return None
