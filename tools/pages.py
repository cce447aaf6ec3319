"""Writes the generated parts of the documentation: `python -m tools.pages`.

A page contains generated parts between marks, on lines of their own:

    <!-- NAME: written by `python -m tools.pages` -->
    <!-- end of NAME -->

Each page decides which parts it shows; a part may be on several. tests/test_docs.py fails if a page
is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from partnercenter_benchmarks import pages as figures
from tools import emulator, plugin, tap, warehouse

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[1]
BY = "written by `python -m tools.pages`"
_PART = re.compile(
    rf"(?P<begin>^<!-- (?P<name>\w+): {BY} -->\n).*?(?P<end>^<!-- end of (?P=name) -->)",
    re.DOTALL | re.MULTILINE,
)


def main() -> int:
    """Write all files, and report those that changed."""
    for path, text in rendered().items():
        file = ROOT / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stderr.write(f"{path}\n")
    return 0


def rendered() -> dict[str, str]:
    """Return every file with generated text, by path relative to the checkout, as it should be.

    Raises:
        ValueError: If a mark has no part, or a part no mark.
    """
    parts = figures.parts() | tap.parts() | emulator.parts() | warehouse.parts()
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(paths)}
    pages = {path: text for path, text in texts.items() if BY in text}
    shown = {match["name"] for text in pages.values() for match in _PART.finditer(text)}
    if missing := parts.keys() - shown:
        message = f"no page has marks for {', '.join(sorted(missing))}"
        raise ValueError(message)
    filled_pages = {path: filled(text, parts) for path, text in pages.items()}
    return filled_pages | figures.files() | plugin.files(ROOT)


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with every part between marks replaced.

    Raises:
        ValueError: If a mark has no part, or no end.
    """
    names = [match["name"] for match in _PART.finditer(page)]
    if page.count(BY) != len(names) or not parts.keys() >= {*names}:
        message = f"the page has marks for {names}, some without a part or without their end"
        raise ValueError(message)
    return _PART.sub(lambda m: f"{m['begin']}\n{parts[m['name']]}\n\n{m['end']}", page)


if __name__ == "__main__":
    sys.exit(main())
