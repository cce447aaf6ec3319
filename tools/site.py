"""Builds the documentation's site: `python -m tools.site`, or `nox --session docs`.

The pages are written for GitHub: some are outside of `docs`, and links lead to files of the
repository. The site generator reads one folder, so the pages are collected there. Links between
them stay links between pages, and all others lead to the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "zensical.toml"
#: Pages outside of `docs`: their paths in the repository, and on the site.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "demo/README.md": "demo.md",
    "emulator/README.md": "emulator.md",
    "orchestrate/README.md": "orchestration.md",
    "transform/README.md": "dbt.md",
}
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(?=[#)])")


def main() -> int:
    """Collect the pages, compare them with the navigation, and build the site in strict mode."""
    project = _toml(CONFIGURATION)["project"]
    pages = gather(ROOT / project["docs_dir"])
    listed = list(_paths(project["nav"]))
    if sorted(listed) != sorted(pages):
        odd = sorted({*listed} ^ {*pages})
        sys.stderr.write(f"The navigation in zensical.toml and the pages differ: {odd}\n")
        return 1
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603


def gather(folder: Path) -> list[str]:
    """Copy pages and images into a folder, and return the names of the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    source = _toml(ROOT / "pyproject.toml")["project"]["urls"]["Source"]
    inside = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.*")}
    places = {path: path.removeprefix("docs/") for path in sorted(inside)} | OUTSIDE
    for path, place in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            text = (ROOT / path).read_text(encoding="utf-8")
            target.write_text(linked(text, path, places, source), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / path, target)
    return [place for place in places.values() if place.endswith(".md")]


def linked(text: str, path: str, places: dict[str, str], source: str) -> str:
    """Return a page with its links adjusted from the repository to its place on the site."""

    def moved(match: re.Match[str]) -> str:
        found = os.path.normpath(PurePosixPath(path).parent / match[1])
        page = places.get(found) or places.get(f"{found}/README.md")
        if page:
            return os.path.relpath(page, PurePosixPath(places[path]).parent)
        return f"{source}/{'tree' if (ROOT / found).is_dir() else 'blob'}/HEAD/{found}"

    return _LINK.sub(moved, text)


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _paths(navigation: list[dict[str, Any]]) -> Iterator[str]:
    for entry in navigation:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from _paths(value)


if __name__ == "__main__":
    sys.exit(main())
