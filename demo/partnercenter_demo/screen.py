"""The demo's output: steps with their time, tables, bars."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.bar import Bar
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from partnercenter_demo.comparison import Comparison

BAR_CELLS = 40


@dataclass
class Screen:
    """The terminal, and the number of the current step."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    step_number: int = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step, and report its result and how long it took."""
        self.step_number += 1
        self.console.print(Text(f"\n{self.step_number}. {title}", style="bold"))
        step = Step()
        begin = time.monotonic()
        with self.console.status("working …"):
            yield step
        took = f"({time.monotonic() - begin:.1f} s)"
        self.say(f"   {step.result} {took}" if step.result else f"   {took}")

    def say(self, text: str = "") -> None:
        """Show a line unchanged."""
        self.console.print(Text(text))

    def query(self, sql: str) -> None:
        """Show a query that is about to be run."""
        self.console.print(Syntax(sql, "postgresql", background_color="default"))

    def rows(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show the result of a query."""
        table = Table(*names, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*(Text("" if value is None else str(value)) for value in row))
        self.console.print(table)

    def bars(self, names: Sequence[str], rows: Sequence[tuple[str, int]]) -> None:
        """Show names with numbers as bars, largest first."""
        largest = max((number for _, number in rows), default=1)
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column(names[0])
        table.add_column(names[1], justify="right")
        table.add_column("")
        for name, number in rows:
            bar = Bar(largest, 0, number, width=BAR_CELLS, color="cyan")
            table.add_row(Text(name), str(number), bar)
        self.console.print(table)

    def comparisons(self, comparisons: Sequence[Comparison]) -> None:
        """Show the loaded data alongside the emulator's."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("table")
        table.add_column("rows in PostgreSQL", justify="right")
        table.add_column("held by the emulator", justify="right")
        table.add_column("keys")
        for one in comparisons:
            verdict = (
                Text("agree", style="green")
                if one.agrees
                else Text(f"{one.missing} missing, {one.surplus} surplus", style="bold red")
            )
            table.add_row(one.table, f"{one.loaded:,}", f"{one.expected:,}", verdict)
        self.console.print(table)


@dataclass
class Step:
    """A step in progress."""

    result: str = ""
    """Its result, in a few words."""


def counted(number: int, noun: str) -> str:
    """Format a number of things: `1 customer`, `2,000 customers`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(path: Path) -> str:
    """Format a path, relative to the current folder if that is shorter."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
