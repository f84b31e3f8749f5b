"""Run one seed of the simulation again, alone.

python -m tests.simulation.run --seed N [--steps M] [--trace]
"""

import sys

import click

from tests.simulation.world import STEPS, Simulation


@click.command()
@click.option("--seed", type=int, required=True, help="Of the run.")
@click.option("--steps", type=int, default=STEPS, show_default=True, help="Of each phase of chaos.")
@click.option("--trace", is_flag=True, help="Print everything that happened: virtual seconds, who, what.")
def main(seed: int, steps: int, trace: bool) -> None:
    """Run one seed of the simulation; exit 1 where something that must hold does not."""
    simulation = Simulation(seed, steps, keep_trace=trace)
    try:
        simulation.run()
    finally:
        if trace:
            click.echo("\n".join(simulation.trace))
    records = sum(len(model.records) for model in simulation.models)
    manifests = sum(audit.state.number for audit in simulation.audits.values())
    click.echo(
        f"seed {seed}: {simulation.clients.requests} requests, {simulation.clients.acknowledged} lines acknowledged, "
        f"{records} records, {manifests} manifest records"
    )
    click.echo(", ".join(f"{what} {count}" for what, count in sorted(simulation.happened.items())))


if __name__ == "__main__":
    sys.exit(main())
