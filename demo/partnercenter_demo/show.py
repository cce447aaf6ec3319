"""The demo itself: from nothing to answered questions, step by step."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from partnercenter_demo import postgres, queries
from partnercenter_demo.comparison import compare
from partnercenter_demo.failure import DemoError
from partnercenter_demo.meltano import EXTRACTOR, LOADER, demo_command
from partnercenter_demo.screen import counted, shown
from partnercenter_emulator import Emulator

if TYPE_CHECKING:
    import psycopg

    from partnercenter_demo.meltano import Meltano
    from partnercenter_demo.screen import Screen
    from partnercenter_demo.workspace import Workspace
    from partnercenter_emulator import Options


def show(screen: Screen, workspace: Workspace, meltano: Meltano, options: Options) -> None:
    """Load an emulated Partner Center into an empty PostgreSQL and look at the result.

    Args:
        screen: Where to show it.
        workspace: Where to keep the database; what was in it is replaced.
        meltano: What loads it.
        options: What the emulated Partner Center is like.

    Raises:
        DemoError: A step failed, or the tables are not what the emulator holds.
    """
    with ExitStack() as running:
        lock = running.enter_context(workspace.opened())
        meltano.prepare()
        # The slowest step begins first and goes on alongside the next two.
        installation = None
        if not meltano.is_installed:
            command = meltano.command("install", EXTRACTOR, LOADER, variables={})
            installation = running.enter_context(command)

        with screen.step("Start the emulator of Microsoft Partner Center") as step:
            emulator = running.enter_context(Emulator(options))
            step.result = (
                f"{counted(options.customers, 'customer')} and "
                f"{counted(options.resellers, 'indirect reseller')} "
                f"at {emulator.url}"
            )

        with screen.step("Start PostgreSQL from its Python wheel, with an empty database") as step:
            postgres.create(workspace)
            server = running.enter_context(postgres.running(workspace, lock))
            step.result = f"data in {shown(workspace.database)}"

        with screen.step(f"Install Meltano, {EXTRACTOR} and {LOADER}") as step:
            if installation:
                installation.finish()
                meltano.note_installed()
            step.result = (
                f"in {shown(workspace.meltano)}, begun with step 1"
                if installation
                else "installed already"
            )

        arguments = ("--environment=demo", "run", "--no-install", EXTRACTOR, LOADER)
        with screen.step(f"meltano --environment=demo run {EXTRACTOR} {LOADER}") as step:
            variables = {
                **emulator.environment(),
                "TARGET_POSTGRES_SQLALCHEMY_URL": server.sqlalchemy_url,
            }
            with meltano.command(*arguments, variables=variables) as load:
                load.finish()
            step.result = f"its log is {shown(workspace.meltano_log)}"

        with server.connect() as connection:
            _check(screen, connection, emulator)
            _look(screen, connection)


def _check(
    screen: Screen, connection: psycopg.Connection[tuple[Any, ...]], emulator: Emulator
) -> None:
    with screen.step("Compare the tables with what the emulator holds, key by key"):
        comparisons = compare(connection, emulator)
        screen.comparisons(comparisons)
    wrong = [one.table for one in comparisons if not one.agrees]
    if wrong:
        message = (
            f"not what the emulator holds: {', '.join(wrong)}. Look into the log named above and, "
            f"with `{demo_command()} psql`, into the database"
        )
        raise DemoError(message)


def _look(screen: Screen, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    with screen.step("Ask: whose customers are these?"):
        screen.query(queries.CUSTOMERS_WITH_RESELLER)
        screen.rows(*_answer(connection, queries.CUSTOMERS_WITH_RESELLER))
    with screen.step("Ask: which resellers have most customers?"):
        screen.query(queries.LARGEST_RESELLERS)
        screen.bars(*_answer(connection, queries.LARGEST_RESELLERS))
    with screen.step("Ask: what do these customers subscribe to?"):
        screen.query(queries.MOST_SUBSCRIBED)
        screen.bars(*_answer(connection, queries.MOST_SUBSCRIBED))


def _answer(
    connection: psycopg.Connection[tuple[Any, ...]], query: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = connection.execute(query.encode())
    return [column.name for column in cursor.description or ()], cursor.fetchall()
