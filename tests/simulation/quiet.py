"""Quiet points: nothing fails any more, everything comes to rest in bounded time, and what is read is checked whole."""

from collections import Counter
from collections.abc import Callable

from common.catalog.manifest import manifest
from common.store.objects import run
from tests.simulation.chaos import CALM, SimulationFailure
from tests.simulation.ingester_process import IngesterProcess
from tests.simulation.model import Key, SequencerModel, difference, fold
from tests.simulation.process import Step
from tests.simulation.world import World

ROUNDS_MAX = 200
"""Virtual seconds within which everything must come to rest: the longest back-off is 45 s."""


def come_to_rest(world: World) -> None:
    """What is under way arrives, every second time after all processes were killed; then everything is read."""
    world.chaos.intensity = CALM
    world.land_everything()
    if world.rng.random() < 0.5:
        for process in (*world.routers, *world.ingesters):
            process.end("killed")
        world.bury()
        world.land_everything()
    _rest_until(lambda: _is_at_rest(world), world, restart=True)
    for query in [*world.queries, *(ingester.query() for ingester in world.ingesters)]:
        query.finish(world.models[query.sequencer], world.store)
    world.queries.clear()


def stop_in_order(world: World) -> None:
    """Routers, then ingesters, which persist what they hold; then the files alone are checked."""
    for router in world.routers:
        if not router.is_stopping:
            router.stop()
    world.bury()
    _rest_until(lambda: not world.routers, world, restart=False)
    for ingester in world.ingesters:
        if not ingester.is_stopping:
            ingester.stop(persist_first=True)
    _rest_until(lambda: not world.ingesters, world, restart=False)
    for model in world.models:
        _check_manifest(world, model)
        _check_files(world, model)


def _rest_until(is_at_rest: Callable[[], bool], world: World, restart: bool) -> None:
    for _ in range(ROUNDS_MAX):
        if restart:
            _start_what_is_missing(world)
        _work_off(world)
        if is_at_rest():
            return
        world.clock.advance(1.0)
        for ingester in list(world.ingesters):
            if ingester.is_alive:
                world.happen([(ingester, Step(1, "tick", ingester.tick))])
                ingester.watch()
    raise SimulationFailure(f"no rest after {ROUNDS_MAX} virtual seconds: {_states(world)}")


def _start_what_is_missing(world: World) -> None:
    if not world.routers:
        world.start_router()
    for sequencer in world.sequencers:
        if not any(ingester.sequencer == sequencer for ingester in world.ingesters):
            world.start_ingester(sequencer)


def _work_off(world: World) -> None:
    while work := [(process, step) for process in (*world.routers, *world.ingesters) for step in process.work()]:
        world.happen(work)


def _is_at_rest(world: World) -> bool:
    held = {ingester.sequencer for ingester in world.ingesters}
    if len(held) < len(world.sequencers) or any(router.requests for router in world.routers):
        return False
    return all(_rests(ingester, world.models[ingester.sequencer]) for ingester in world.ingesters)


def _rests(ingester: IngesterProcess, model: SequencerModel) -> bool:
    core = ingester.core
    if core is None or ingester.is_stopping or ingester.is_superseded:
        return False
    return core.applied_offset == model.next_offset and core.caught_up and not core.paused and not core.jobs_running


def _states(world: World) -> str:
    states = [f"{len(router.requests)} requests at {router.name}" for router in world.routers]
    for ingester in world.ingesters:
        core = ingester.core
        states.append(
            f"{ingester.name} without a claim"
            if core is None
            else f"{ingester.name} applied {core.applied_offset} of {world.models[ingester.sequencer].next_offset}, "
            f"caught up {core.caught_up}, paused {core.paused}, {core.jobs_running} jobs, {core.rows_buffered} rows"
        )
    return "; ".join(states)


def _check_manifest(world: World, model: SequencerModel) -> None:
    """Loaded from the store it is what its records add up to, and nothing is left to replay."""
    audited = world.audits[model.sequencer].state
    state = run(manifest.load(model.sequencer), world.store)
    if state.number != audited.number or state.as_change().to_json() != audited.as_change().to_json():
        raise SimulationFailure(f"sequencer {model.sequencer}: loaded {state}, its records say {audited}")
    if state.replay_offset != model.next_offset:
        raise SimulationFailure(
            f"sequencer {model.sequencer}: after an ordered stop the replay offset is {state.replay_offset}, the next "
            f"offset {model.next_offset}"
        )


def _check_files(world: World, model: SequencerModel) -> None:
    """They hold the buffer's content, and no row in more files than it was written times."""
    audit = world.audits[model.sequencer]
    rows = [row for path in audit.state.files for row in audit.rows_of_file(path)]
    if wrong := difference(fold(rows), fold(model.rows(model.next_offset))):
        raise SimulationFailure(f"sequencer {model.sequencer}: files after an ordered stop: {wrong}")
    written: Counter[Key] = Counter(key for key, _ in model.rows(model.next_offset))
    stored: Counter[Key] = Counter(key for key, _ in rows)
    if twice := stored - written:
        raise SimulationFailure(f"sequencer {model.sequencer}: in more files than it was written times: {twice}")
