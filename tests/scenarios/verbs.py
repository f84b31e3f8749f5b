"""What each verb of a scenario does: one thing that happens to an ingester, its log, its store or its clock."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from common.catalog.manifest.frontier import TIME_END
from common.catalog.manifest.state import ManifestState
from common.catalog.manifest.swap import Swap
from common.values.ids import Offset, SequencerId
from ingester.core.events import SwapAsked
from penstock.replay.gathering import Selection
from penstock.replay.reading import Range
from penstock.replay.repair import Mode
from penstock.replay.replay import Replay
from tests.scenarios import facts
from tests.scenarios.language import WrongStep, number, options_of, tables_of, time_ns
from tests.scenarios.world import World
from tests.support.ingester_rig import SECOND_NS, IngesterRig
from tests.support.records import DAY0_NS
from tests.support.rig_stream import RigStream
from tests.unit.test_replay_dry_run import buffer_of

LETTER_S = 61
"""Longer than a commit that has no file to name is put off."""

PAUSE_S_MAX = 100
"""More than the waits between a few tries of a job that fails."""

Words = tuple[str, ...]
Verb = Callable[[World, str, Words], None]
VERBS: dict[str, Verb] = {}


def _verb(act: Verb) -> Verb:
    VERBS[act.__name__.strip("_")] = act
    return act


@_verb
def write(world: World, name: str, words: Words) -> None:
    """ROW… [OPTION=N…]: a record is appended to the log."""
    rows, options = options_of(words)
    world.one(name).rig.append(tables_of(rows), **options)


@_verb
def poison(world: World, name: str, words: Words) -> None:
    """ROW… [OPTION=N…]: one that cannot be decoded."""
    rows, options = options_of(words)
    world.one(name).rig.append(tables_of(rows), bad=True, **options)


@_verb
def repeat(world: World, name: str, words: Words) -> None:
    """OFFSET: the record at it once more."""
    world.one(name).rig.again(number(words, 0))


@_verb
def poll(world: World, name: str, words: Words) -> None:
    """[N]: the next N records are applied, or all. Nothing is read that was trimmed, and nothing in a pause."""
    rig = world.one(name).rig
    assert not rig.paused, "polling is paused"
    rig.poll(number(words, 10**6))


@_verb
def follow(world: World, name: str, words: Words) -> None:
    """[N]: as a driver does: N records at a time up to the end, and in each pause what was asked for is done."""
    rig = world.one(name).rig
    while rig.core.applied_offset < rig.next_offset:
        rig.poll(number(words, 1))
        world.check()
        for _ in range(PAUSE_S_MAX):
            if not rig.paused:
                break
            rig.settle()
            rig.tick(1)
        assert not rig.paused, f"the pause does not end within {PAUSE_S_MAX} s"


@_verb
def tick(world: World, name: str, words: Words) -> None:
    """[SECONDS]: so much time passes."""
    world.one(name).rig.tick(number(words, 1))


@_verb
def clock(world: World, name: str, words: Words) -> None:
    """SECONDS: the wall clock is set."""
    rig = world.one(name).rig
    rig.now_ns = DAY0_NS + number(words, 0) * SECOND_NS
    rig.tick(0)


@_verb
def cut(world: World, name: str, words: Words) -> None:
    """TABLE[@TIME]… [until TIME]: persist jobs are cut for the partitions, of their rows up to a time."""
    one = world.one(name)
    until_ns = TIME_END
    if words[-2:-1] == ("until",):
        *words, _, time = words
        until_ns = time_ns(time)
    if not words:
        raise WrongStep("cut TABLE, or cut TABLE until TIME")
    before = len(one.rig.persists)
    wanted = [facts.partitions_of(word) for word in words]
    one.policy.asked, one.policy.until_ns = lambda key: any(each(key) for each in wanted), until_ns
    one.rig.tick(0)
    one.policy.asked = lambda key: False
    assert len(one.rig.persists) > before, "no job was cut"


@_verb
def persist(world: World, name: str, words: Words) -> None:
    """[TABLE[@TIME] | newest]: the job that has waited longest puts its file, or the one that was cut last."""
    rig = world.one(name).rig
    which = words[0] if words else ""
    wanted = facts.partitions_of(which) if which not in ("", "newest") else lambda key: True
    found = [at for at, job in enumerate(rig.persists) if wanted(job.key)]
    assert found, "no such job was handed out"
    rig.persist(found[-1 if which == "newest" else 0])


@_verb
def commit(world: World, name: str, words: Words) -> None:
    """[unanswered]: the manifest's record is put; unanswered: it is, and no answer comes to it nor to any question."""
    rig = world.one(name).rig
    assert rig.commits, "no commit was asked for"
    if words == ("unanswered",):
        world.store.fail("manifest/", "after")
        with world.store.silent():
            rig.commit()
    elif words:
        raise WrongStep("commit, or commit unanswered")
    else:
        rig.commit()


@_verb
def letter(world: World, name: str, words: Words) -> None:
    """A dead letter is put."""
    rig = world.one(name).rig
    assert rig.letters, "no dead letter was asked for"
    rig.dead_letter()


@_verb
def fail(world: World, name: str, words: Words) -> None:
    """FOLDER [N]: the next put into it, or the next N, fails: data, manifest or dead-letter."""
    if not words:
        raise WrongStep("fail FOLDER, or fail FOLDER N")
    world.store.fail(f"{words[0]}/", times=number(words[1:], 1))


@_verb
def settle(world: World, name: str, words: Words) -> None:
    """Everything that was asked for is done, and what that leads to."""
    world.one(name).rig.settle()


@_verb
def cold(world: World, name: str, words: Words) -> None:
    """No record comes for a long while: everything becomes durable, and the replay offset follows."""
    rig = world.one(name).rig
    rig.go_cold()
    rig.tick(LETTER_S)
    rig.settle()


@_verb
def trim(world: World, name: str, words: Words) -> None:
    """[OFFSET]: what nobody needs goes from the log; with an offset, what is below it, needed or not."""
    rig = world.one(name).rig
    if words:
        rig.stream.trim(Offset(number(words, 0)))
    else:
        rig.trim()


@_verb
def recreate(world: World, name: str, words: Words) -> None:
    """The stream is deleted, and another one begins in its place."""
    world.one(name).rig.stream.identity = "another stream"


@_verb
def restore(world: World, name: str, words: Words) -> None:
    """The stream that was followed is brought back."""
    world.one(name).rig.stream.identity = RigStream().identity


@_verb
def crash(world: World, name: str, words: Words) -> None:
    """[accept-loss]: the process is killed, and another one claims the sequencer."""
    if words not in ((), ("accept-loss",)):
        raise WrongStep("crash, or crash accept-loss")
    one = world.one(name)
    one.ready_at = one.rig.next_offset
    one.rig.restart(accept_loss=bool(words))


@_verb
def restart(world: World, name: str, words: Words) -> None:
    """An ordered stop, which persists everything, and a start."""
    rig = world.one(name).rig
    rig.stop()
    rig.settle()
    assert rig.finished, "it does not stop"
    assert rig.ended_with is None, f"it ended with {rig.ended_with}"
    crash(world, name, words)


@_verb
def claim(world: World, name: str, words: Words) -> None:
    """[SEQUENCER]: an ingester of a new name claims A's sequencer, or the one given."""
    if name in world.ingesters:
        raise WrongStep(f"{name} has a sequencer already")
    world.claim(name, SequencerId(number(words, world.sequencer_of("A"))))


@_verb
def lose(world: World, name: str, words: Words) -> None:
    """TABLE[@TIME]: its files are deleted by hand."""
    wanted = facts.partitions_of(" ".join(words))
    found = [file.path for file in world.one(name).rig.core.state.files.values() if wanted(file.partition)]
    assert found, "it has no file"
    for path in found:
        del world.store.objects[path]
    world.lost.update(found)


@_verb
def replay(world: World, name: str, words: Words) -> None:
    """`penstock replay` of all the log makes the files that are lacking, and asks the ingester to name them."""
    rig = world.one(name).rig
    holder = _Asking(rig)
    asked = Range(world.sequencer_of(name), rig.stream.first_offset, rig.next_offset)
    with tempfile.TemporaryDirectory() as folder:
        reader = buffer_of(rig).open_reader()
        one = Replay(reader, rig.store, holder.state, asked, Selection(), Mode.ADD, Path(folder), 10**9)
        try:
            one.mend(one.gather(lambda passed: None), holder, lambda done: None)
        except _Asked:
            return
    raise AssertionError("nothing is lacking")


@_verb
def mend(world: World, name: str, words: Words) -> None:
    """A replay and its commit, where files are lost."""
    rig = world.one(name).rig
    if world.lost.intersection(rig.core.state.files):
        replay(world, name, ())
        rig.settle()
    assert not world.lost.intersection(rig.core.state.files)


@_verb
def expect(world: World, name: str, words: Words) -> None:
    """FACT VALUE, FACT at most N, FACT at least N, value ROW, no value ROW: as facts.py says."""
    facts.hold(world.one(name).rig, words)


class _Asked(Exception):
    """The swap was handed over; its commit is for a later step."""


class _Asking:
    """A Holder whose ingester has the swap and has not committed it yet."""

    def __init__(self, rig: IngesterRig) -> None:
        self._rig = rig
        self.state: ManifestState = rig.core.state

    def commit(self, swap: Swap) -> None:
        self._rig.step(SwapAsked(swap))
        raise _Asked
