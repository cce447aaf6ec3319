"""The questions that the dbt package answers."""

from __future__ import annotations

from pathlib import Path

import yaml

MARTS = Path(__file__).resolve().parents[1] / "transform" / "models" / "marts"


def parts() -> dict[str, str]:
    """Return each mart with the question at the start of its description."""
    described = yaml.safe_load((MARTS / "marts.yml").read_text(encoding="utf-8"))
    lines = ["| question | model |", "|---|---|"]
    for model in sorted(described["models"], key=lambda model: str(model["name"])):
        name = model["name"]
        question, _, _ = model["description"].partition("?")
        lines.append(f"| {question}? | [`{name}`](../transform/models/marts/{name}.sql) |")
    return {"questions": "\n".join(lines)}
