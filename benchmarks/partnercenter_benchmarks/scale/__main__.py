"""The command `scale`: simulates large partners, and keeps the figures."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from partnercenter_benchmarks.results import save

from .model import simulate
from .tables import SCALE_JSON, ScaleFigures, Simulated, scenarios, span


def main() -> int:
    """Simulate all scenarios on all processors, and write benchmarks/scale.json."""
    argparse.ArgumentParser(
        prog="scale", description="Simulate large partners for docs/scale.md, some minutes long."
    ).parse_args()
    figures = ScaleFigures([])
    wanted = scenarios()
    # Not by fork: who calls this may have threads.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for scenario, outcome in zip(wanted, pool.map(simulate, wanted), strict=True):
            figures.simulated.append(Simulated(scenario, outcome))
            sys.stderr.write(
                f"{len(figures.simulated)} of {len(wanted)}: {scenario.customers:,} customers, "
                f"{scenario.shards} shards, quota {scenario.quota}: {span(outcome.seconds)}\n"
            )
    save(figures, SCALE_JSON)
    sys.stderr.write("Kept. `python -m tools.pages` writes it into the documentation.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
