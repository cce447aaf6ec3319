"""The command `demo`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg
from rich.console import Console
from rich.text import Text

from partnercenter_demo import postgres
from partnercenter_demo.failure import DemoError
from partnercenter_demo.meltano import MODELS, SCHEMA, Meltano, demo_command
from partnercenter_demo.screen import Screen, shown
from partnercenter_demo.show import show
from partnercenter_demo.workspace import PROJECT, Workspace
from partnercenter_emulator import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = """\
Loads an emulated Microsoft Partner Center into a real PostgreSQL with Meltano, builds models of it
with dbt, and queries them. Nothing but Python and uv is needed: no account, no database, no
container."""

MAX_CUSTOMERS = 1_000_000

EPILOG = """\
Every run starts from an empty database and keeps it, so that you can explore it afterwards:
  demo sql 'table customers_by_reseller'
  demo psql"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Command-line arguments; by default those of this process.

    Returns:
        The exit code: 0 for success, 1 for a failure, 128 plus the number after a signal.
    """
    given = _parser().parse_args(arguments)
    workspace = Workspace(given.data.resolve())
    for name in ("SIGTERM", "SIGHUP"):
        # Signals ignored under nohup stay ignored.
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), _exit_on_signal)
    try:
        if given.command in {"sql", "psql"}:
            return _query(workspace, getattr(given, "query", None))
        _demonstrate(workspace, given)
    except DemoError as error:
        return _failed(str(error), error.details)
    except psycopg.Error as error:
        output = str(error).splitlines()[0]
        return _failed(
            f"PostgreSQL could not answer: {output} (its log is {workspace.database_log})"
        )
    except OSError as error:
        return _failed(f"a file could not be used, check permissions and free space: {error}")
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted, everything it started has ended\n")
        return 128 + signal.SIGINT
    return 0


def _failed(message: str, details: str = "") -> int:
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if details:
        errors.print(Text(details, style="dim"))
    errors.print(Text(f"demo: {message}", style="bold red"))
    return 1


def _demonstrate(workspace: Workspace, given: argparse.Namespace) -> None:
    screen = Screen()
    meltano = Meltano(workspace, verbose=given.verbose, fresh=given.fresh)
    # Each page links to the next in another of the ways that the real API is known to use.
    options = Options(customers=given.customers, resellers=given.resellers, link_form="rotate")
    show(screen, workspace, meltano, options)
    command = demo_command()
    if given.data != PROJECT / ".demo":
        command += f" --data {given.data}"
    screen.say()
    screen.say(f"The database stays in {shown(workspace.database)}. To explore it:")
    for example in ("psql", "sql 'table customers_by_reseller'"):
        screen.say(f"   {command} {example}")


def _query(workspace: Workspace, query: str | None) -> int:
    if not (workspace.database / "PG_VERSION").is_file():
        message = f"there is no database in {workspace.database} yet: run `{demo_command()}` first"
        raise DemoError(message)
    arguments = [] if query is None else ["--pset=pager=off", f"--command={query}"]
    with workspace.opened() as lock, postgres.running(workspace, lock) as server:
        return server.psql(f"{SCHEMA},{MODELS}", *arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--customers", type=_count, default=3000, metavar="N", help="size of the partner (3000)"
    )
    parser.add_argument(
        "--resellers", type=_count, default=12, metavar="N", help="its indirect resellers (12)"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show the whole output of Meltano and the plugins"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="reinstall the plugins as well; the database is new in every run",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=PROJECT / ".demo",
        metavar="FOLDER",
        help="where database, plugins and logs are kept (.demo in the checkout)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    sql = commands.add_parser("sql", help="run one query on the database of the last run")
    sql.add_argument("query", help=f"SQL; tables of {SCHEMA} and {MODELS} need no schema")
    commands.add_parser("psql", help="open PostgreSQL's terminal on the database of the last run")
    return parser


def _count(text: str) -> int:
    if text.isdecimal() and 1 <= int(text) <= MAX_CUSTOMERS:
        return int(text)
    message = f"{text!r} is not a whole number from 1 to {MAX_CUSTOMERS:,}"
    raise argparse.ArgumentTypeError(message)


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
