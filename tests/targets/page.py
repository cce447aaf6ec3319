"""docs/warehouse.md: its generated parts, and the examples that tests use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "warehouse.md"


def yaml_block(key: str) -> dict[str, Any]:
    """The YAML example that sets a key."""
    examples = map(yaml.safe_load, _blocks("yaml"))
    (example,) = (example for example in examples if key in example)
    found: dict[str, Any] = example
    return found


def sql_block(word: str) -> str:
    """The SQL example that contains a word."""
    (example,) = (example for example in _blocks("sql") if word in example)
    return example


def with_part(name: str, content: str) -> str:
    """The page with new content between the markers of a part."""
    text = PAGE.read_text(encoding="utf-8")
    pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
    before, start, end, after = re.split(pattern, text, flags=re.DOTALL)
    return f"{before}{start}\n{content}\n\n{end}{after}"


def _blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
