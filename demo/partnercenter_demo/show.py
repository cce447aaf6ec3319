"""The demo itself, step by step, from an empty database to answered questions."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from partnercenter_demo import postgres, queries
from partnercenter_demo.comparison import compare
from partnercenter_demo.failure import DemoError
from partnercenter_demo.meltano import EXTRACTOR, LOADER, MODELS, TRANSFORMER, demo_command
from partnercenter_demo.screen import counted, shown
from partnercenter_emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from partnercenter_demo.meltano import Meltano
    from partnercenter_demo.screen import Screen, Step
    from partnercenter_demo.workspace import Workspace
    from partnercenter_emulator import Options

PLUGINS = (EXTRACTOR, LOADER, TRANSFORMER)


def show(screen: Screen, workspace: Workspace, meltano: Meltano, options: Options) -> None:
    """Load an emulated Partner Center into an empty PostgreSQL, build models, and query them.

    Args:
        screen: Where to show it.
        workspace: Where to keep the database; an existing one is replaced.
        meltano: Runs the load.
        options: Those of the emulated Partner Center.

    Raises:
        DemoError: A step failed, or the tables do not match the emulator.
    """
    with ExitStack() as running:
        lock = running.enter_context(workspace.opened())
        meltano.prepare()
        # The slowest step starts first and runs alongside the next two.
        installation = None
        if not meltano.is_installed:
            command = meltano.command("install", *PLUGINS, variables={})
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

        with screen.step(f"Install Meltano, {EXTRACTOR}, {LOADER} and {TRANSFORMER}") as step:
            if installation:
                installation.finish()
                meltano.note_installed()
            step.result = (
                f"in {shown(workspace.meltano)}, started in step 1"
                if installation
                else "installed already"
            )

        address = {"TARGET_POSTGRES_SQLALCHEMY_URL": server.sqlalchemy_url}
        with _run(screen, meltano, EXTRACTOR, LOADER, **emulator.environment(), **address) as step:
            step.result = f"its log is {shown(workspace.meltano_log)}"
        with server.connect() as connection:
            _check(screen, connection, emulator)
        with _run(screen, meltano, f"{TRANSFORMER}:build", **server.dbt_variables) as step:
            step.result = f"built and tested, in the schema {MODELS}"
        with server.connect() as connection:
            _show_answers(screen, connection)


@contextmanager
def _run(screen: Screen, meltano: Meltano, *plugins: str, **variables: str) -> Iterator[Step]:
    """Show a `meltano run` as a step; the block sets its result."""
    with screen.step(f"meltano --environment=demo run {' '.join(plugins)}") as step:
        arguments = ("--environment=demo", "run", "--no-install", *plugins)
        with meltano.command(*arguments, variables=variables) as job:
            job.finish()
        yield step


def _check(
    screen: Screen, connection: psycopg.Connection[tuple[Any, ...]], emulator: Emulator
) -> None:
    with screen.step("Compare the tables with what the emulator holds, key by key"):
        comparisons = compare(connection, emulator)
        screen.comparisons(comparisons)
    wrong = [one.table for one in comparisons if not one.agrees]
    if wrong:
        message = (
            f"different from the emulator: {', '.join(wrong)}. Check the log named above and, "
            f"with `{demo_command()} psql`, the database"
        )
        raise DemoError(message)


def _show_answers(screen: Screen, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    with screen.step("Query: which customers have more than one reseller?"):
        screen.query(queries.SEVERAL_RESELLERS)
        screen.rows(*_answer(connection, queries.SEVERAL_RESELLERS))
    with screen.step("Query: which resellers have the most customers?"):
        screen.query(queries.LARGEST_RESELLERS)
        screen.bars(*_answer(connection, queries.LARGEST_RESELLERS))
    with screen.step("Query: what do these customers subscribe to?"):
        screen.query(queries.MOST_SUBSCRIBED)
        screen.bars(*_answer(connection, queries.MOST_SUBSCRIBED))


def _answer(
    connection: psycopg.Connection[tuple[Any, ...]], query: str
) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = connection.execute(query.encode())
    return [column.name for column in cursor.description or ()], cursor.fetchall()
