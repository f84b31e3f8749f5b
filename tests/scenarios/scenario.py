"""A scenario: steps that are followed one by one; after each of them what is read is what the log comes to."""

from common.values import errors
from common.values.errors import PenstockError
from tests.scenarios.language import Step, WrongStep, parse
from tests.scenarios.verbs import VERBS
from tests.scenarios.world import World
from writebuffer import errors as buffer_errors

UNCHECKED = ("write", "poison", "repeat", "fail", "trim", "cut", "expect")
"""Verbs that change nothing that is read, or what the next step checks: with many partitions a look takes seconds."""


class Failed(AssertionError):
    """A step did not do what it says: which one, and what was found."""


class Scenario(World):
    """`do` follows steps, `end` what comes after every scenario; `play` is both."""

    def do(self, text: str) -> "Scenario":
        """Raises Failed, WrongStep."""
        for step in parse(text):
            try:
                self._do(step)
            except AssertionError as error:
                raise Failed(f"{step.verb} {' '.join(step.words)} (in {step.line!r}): {error}") from error
        return self

    def _do(self, step: Step) -> None:
        verb = VERBS.get(step.verb)
        if verb is None:
            raise WrongStep(f"no step: {step.verb!r}; steps are {', '.join(VERBS)}")
        expected = _error(step.raises) if step.raises else ()
        try:
            verb(self, step.actor or "A", step.words)
        except expected:
            return
        assert not step.raises, f"it did not raise {step.raises}"
        if step.verb not in UNCHECKED:
            self.check()

    def end(self) -> None:
        """Whatever happened: another process reads the same rows, persists them all, and the accounts are right."""
        for name, one in self.ingesters.items():
            if not one.is_superseded:
                self.do(f"{name}: crash, poll, mend, cold, trim")
                state, logged = one.rig.core.state, one.rig.log
                assert state.replay_offset == one.rig.next_offset
                assert state.accounts.settled == sum(each.rows for each in logged)
                assert state.accounts.dead == sum(each.rows for each in logged if each.fate == "dead")
                assert state.accounts.duplicate == sum(each.rows for each in logged if each.fate == "duplicate")
                assert one.rig.stream.kept() == 0


def play(text: str, **rules: int) -> Scenario:
    """Follow the steps and what comes after every scenario."""
    scenario = Scenario(**rules).do(text)
    scenario.end()
    return scenario


def _error(name: str) -> type[PenstockError]:
    found = getattr(errors, name, None) or getattr(buffer_errors, name, None)
    if not (isinstance(found, type) and issubclass(found, PenstockError)):
        raise WrongStep(f"no error is called {name!r}")
    return found
