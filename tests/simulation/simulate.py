"""One run from beginning to end: chaos, a quiet point, chaos again, another, and the ordered stop."""

from common.values.errors import PenstockError
from tests.simulation.quiet import come_to_rest, stop_in_order
from tests.simulation.settings import tiny_limits
from tests.simulation.world import World

STEPS = 180
"""Of each of the two phases of chaos."""


class SeedFailed(AssertionError):
    """A run failed; the message says how to run it again alone."""


def run_world(world: World, steps: int = STEPS) -> None:
    """Raises SimulationFailure, or what a core raised, where something that must hold does not."""
    intensity = world.chaos.intensity
    with tiny_limits(world.rng):
        for _ in range(2):
            world.chaos.intensity = intensity
            for _ in range(steps):
                world.step()
            come_to_rest(world)
        stop_in_order(world)


def simulate(seed: int, steps: int = STEPS) -> World:
    """One run; the world as it was left. Raises SeedFailed."""
    world = World(seed)
    try:
        run_world(world, steps)
    except (AssertionError, PenstockError, LookupError) as error:
        command = f"python -m tests.simulation.run --seed {seed} --steps {steps} --trace"
        raise SeedFailed(
            f"seed {seed}: {type(error).__name__}: {error}\nagain, alone: {command}\nthe end of its trace:\n"
            + "\n".join(world.trace)
        ) from error
    return world
