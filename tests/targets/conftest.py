"""Fixtures for the tests of the dbt package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.warehouse import Project


@pytest.fixture(scope="session")
def with_dbt(project: Project) -> Project:
    """The project with its utilities, which other tests do not need."""
    with project.meltano.command("install", "dbt-postgres", "dbt-duckdb", variables={}) as job:
        job.finish()
    return project
