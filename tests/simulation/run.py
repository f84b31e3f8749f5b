"""Run one seed of the simulation again, alone.

python -m tests.simulation.run --seed N [--steps M] [--trace]
"""

import click

from tests.simulation.simulate import STEPS, run_world
from tests.simulation.world import World


@click.command()
@click.option("--seed", type=int, required=True, help="Of the run.")
@click.option("--steps", type=int, default=STEPS, show_default=True, help="Of each phase of chaos.")
@click.option("--trace", is_flag=True, help="Print everything that happened: virtual seconds, who, what.")
def main(seed: int, steps: int, trace: bool) -> None:
    """Run one seed of the simulation; exit 1 where something that must hold does not."""
    world = World(seed, keep_trace=trace)
    try:
        run_world(world, steps)
    finally:
        if trace:
            click.echo("\n".join(world.trace))
    records = sum(len(model.records) for model in world.models)
    manifests = sum(audit.state.number for audit in world.audits.values())
    click.echo(
        f"seed {seed}: {world.clients.requests} requests, {world.clients.acknowledged} lines acknowledged, "
        f"{records} records, {manifests} manifest records"
    )
    click.echo(", ".join(f"{what} {count}" for what, count in sorted(world.happened.items())))


if __name__ == "__main__":
    main()
