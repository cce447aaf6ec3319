"""Shards side by side, as the script for cron in orchestrate/README.md runs them."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.orchestrate.conftest import ORCHESTRATE
from tests.targets.rows import assert_equal

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.orchestrate.conftest import Chain


@pytest.mark.e2e
def test_shards_load_one_schema_at_once(chain: Chain, start: Start) -> None:
    """One alone, then three at once: every row of the API, once."""
    page = (ORCHESTRATE / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    emulator = start(customers=90, resellers=5)
    loaded = subprocess.run(
        ["/bin/sh", "-c", script.replace("partnercenter_de", "side_by_side")],
        env={
            **chain.variables,
            **emulator.environment(),
            "TARGET_POSTGRES_SQLALCHEMY_URL": chain.server.sqlalchemy_url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert loaded.returncode == 0, loaded.stdout
    counts = re.findall(r"\bcustomers: (\d+) records\b(?!,)", loaded.stdout)
    assert len(counts) == 4
    assert "0" not in counts
    assert_equal(chain.server, "side_by_side", emulator)
