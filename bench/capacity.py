"""Cores that 400 Gbit/s take, by the model of docs/scaling.md on the last figures of the other families."""

from __future__ import annotations

from bench import model_table, results
from bench.figure import Figure
from nf.errors import SnfError

GBPS = 400.0


def measure() -> list[Figure]:
    """Return the figures; raises SnfError when a family that they rest on was not measured."""
    try:
        cores = model_table.cores(GBPS, model_table.inputs(results.rows(results.FILE)))
    except (KeyError, StopIteration) as error:
        raise SnfError(
            f"The model lacks a figure: {error}.", "Run `make bench`, which measures all families."
        ) from None
    note = "the model of docs/scaling.md: an interval of one second, all flows inspected"
    machines = cores["in all"] / model_table.MACHINE_CORES
    return [
        Figure("cores for 400 Gbit/s by the model", cores["in all"], "cores", 34, cores, note),
        Figure(f"machines of {model_table.MACHINE_CORES} cores for 400 Gbit/s by the model", machines, "", 3, {}, note),
    ]
