"""The tables of the emulator's README."""

from __future__ import annotations

import msgspec

from partnercenter_emulator import Fault
from partnercenter_emulator.options import STARTUP_ONLY, option_table
from partnercenter_emulator.resources import RESOURCES


def parts() -> dict[str, str]:
    """Return the options, the members of a fault, and the supported requests."""
    return {"options": _options(), "faults": _faults(), "requests": _requests()}


def _options() -> str:
    lines = ["| Option | Default | What it does |", "|---|---|---|"]
    for option in option_table():
        default = str(option.default).lower() if option.kind == "flag" else str(option.default)
        choices = ", ".join(f"`{choice}`" for choice in option.choices)
        text = f"{option.description} One of {choices}." if choices else option.description
        mark = " †" if option.name in STARTUP_ONLY else ""
        lines.append(f"| `{option.name}`{mark} | `{default}` | {text} |")
    return "\n".join(lines)


def _faults() -> str:
    properties = msgspec.json.schema(Fault)["$defs"]["Fault"]["properties"]
    rows = [f"| `{name}` | {about['description']} |" for name, about in properties.items()]
    return "\n".join(["| Member | What it says |", "|---|---|", *rows])


def _requests() -> str:
    comes = {"object": "alone", "plain": "whole", "seek": "in pages", "offset": "by offset"}
    lines = ["| Request | Place | Token | Comes | What it answers |", "|---|---|---|---|---|"]
    for row in RESOURCES:
        query = "".join(f"&{one.name}=…" for one in row.parameters).replace("&", "?", 1)
        token = "user" if row.user else "any"
        lines.append(
            f"| `{row.method} {row.pattern}{query}` | `{row.place}` | {token} | "
            f"{comes[row.paging]} | {row.about} |"
        )
    return "\n".join(lines)
