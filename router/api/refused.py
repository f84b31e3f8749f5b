"""A write that ends before anything of it was parsed."""

from router.core.outcome import Outcome


class WriteRefused(Exception):
    """The request is refused before anything was parsed; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome
