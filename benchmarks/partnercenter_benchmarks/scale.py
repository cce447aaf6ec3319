"""The command `scale`: simulates large partners, and writes the figures into the documentation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import documents
from .results import load as load_results
from .scale_figures import FULL, QUICK, ScaleFigures, cases, load, run, save
from .scale_tables import operating_sections, sections, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .results import Results
    from .scale_figures import Sizes

#: The figures that the documentation shows.
KEPT = documents.ROOT / "benchmarks" / "scale.json"
PAGE = documents.ROOT / "docs" / "scale.md"
OPERATING_PAGE = documents.ROOT / "docs" / "operating.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="scale",
        description="Simulate how a large partner's run grows with shards, tenants and quota.",
        epilog="Nothing is sent and no time passes: the emulator's quota and the tap's pacing meet "
        "on a virtual clock. What a processor needs is read from benchmarks/results.json.",
    )
    parser.add_argument("--quick", action="store_true", help="a hundredth of the size, for a look")
    parser.add_argument(
        "--from",
        dest="from_file",
        type=Path,
        metavar="FILE",
        help="show these figures, such as benchmarks/scale.json, and simulate nothing",
    )
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="write the figures into docs/ and benchmarks/scale.json of this checkout",
    )
    given = parser.parse_args(arguments)
    if given.quick and (given.write_docs or given.from_file):
        parser.error("--quick goes with no other option")
    sizes = QUICK if given.quick else FULL
    figures = load(given.from_file) if given.from_file else _simulate(sizes)
    results = load_results(documents.KEPT)
    for name, text in (sections(figures, results) | operating_sections(figures, results)).items():
        sys.stdout.write(f"\n## {name}\n\n{text}\n")
    if given.write_docs:
        save(figures, KEPT)
        for path, page in pages(figures, results):
            path.write_text(page, encoding="utf-8")
    return 0


def pages(figures: ScaleFigures, results: Results) -> Iterator[tuple[Path, str]]:
    """Yield the pages that show figures, with what each has to be."""
    for path, parts in (
        (PAGE, sections(figures, results)),
        (OPERATING_PAGE, operating_sections(figures, results)),
    ):
        yield path, documents.filled(path.read_text(encoding="utf-8"), parts)


def _simulate(sizes: Sizes) -> ScaleFigures:
    found = []
    total = len(cases(sizes))
    for each in run(sizes):
        found.append(each)
        scene = each.case.scene
        sys.stderr.write(
            f"{len(found)} of {total}: {each.case.tenants} times {scene.customers:,} customers, "
            f"{scene.shards} shards, quota {scene.quota}: {span(each.outcome.seconds)}\n"
        )
    return ScaleFigures(sizes, found)


if __name__ == "__main__":
    sys.exit(main())
