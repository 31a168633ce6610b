"""Random rule lists against the straight reading of RFC 8341, 3.4 (nacm_reading.py).

python -m tests.mgmt.fuzz_nacm --lists 10000 --seed 7
"""

import random

import click

from mgmt.netconf.model.yang_model import default_model
from tests.mgmt.nacm_random import compare, instances, sample


@click.command()
@click.option("--lists", default=10_000, show_default=True, help="Configurations of rules.")
@click.option("--seed", default=7, show_default=True)
def main(lists: int, seed: int) -> None:
    model, rng = default_model(), random.Random(seed)
    tree = sample(model)
    found = instances(model, tree)
    answers = sum(compare(model, tree, found, rng) for _ in range(lists))
    click.echo(f"{lists} rule lists, {answers} answers, none differs from RFC 8341, 3.4")


if __name__ == "__main__":
    main()
