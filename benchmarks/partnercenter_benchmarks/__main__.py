"""The command `benchmark`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

from . import pages
from .cases import cases
from .contestants import DLT_VERSION, contestants
from .measuring import measure_all, verdict
from .render import sections
from .results import Results, load, save, summarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .results import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 1 if a contestant's records were wrong."""
    parser = argparse.ArgumentParser(
        prog="benchmark",
        description="Measure tap-partnercenter compared with stock SDK taps, dlt and bare threads.",
    )
    names = list(dict.fromkeys(name for case in cases() for name in (case.section, case.name)))
    only = "these cases, or the cases of these sections: " + ", ".join(names)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=only)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="small sizes, for a look: two minutes")
    keep = "put what was measured into benchmarks/results.json of this checkout"
    what.add_argument("--keep", action="store_true", help=keep)
    given = parser.parse_args(arguments)
    chosen = cases(quick=given.quick)
    if given.only:
        chosen = [each for each in chosen if {each.name, each.section} & {*given.only}]
    ready = contestants({entry.name for case in chosen for entry in case.entries})
    packages = ("tap-partnercenter", "singer-sdk", "requests", "msgspec")
    results = Results(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        versions={name: version(name) for name in packages} | {"dlt": DLT_VERSION},
        quick=given.quick,
    )
    runs: list[Run] = []
    for facts, found in measure_all(chosen, ready):
        results.cases.append(facts)
        results.rows += summarize(found)
        runs += found
    for name, text in sections(results).items():
        sys.stdout.write(f"\n## {name}\n\n{text}\n")
    if given.keep:
        save(load(pages.RESULTS).updated(results), pages.RESULTS)
    return verdict(runs)


if __name__ == "__main__":
    sys.exit(main())
