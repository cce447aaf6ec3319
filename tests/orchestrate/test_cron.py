"""Shards in parallel, as in the cron script in orchestrate/README.md."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.orchestrate.conftest import ORCHESTRATE
from tests.targets.rows import assert_equal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Start
    from tests.orchestrate.conftest import Chain


def script() -> str:
    """The script in the README."""
    page = (ORCHESTRATE / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(found)


def test_each_shard_has_its_part_of_the_quota(tmp_path: Path) -> None:
    """Those that run at the same time share what the first has alone."""
    meltano = tmp_path / "meltano"
    meltano.write_text(
        f'#!/bin/sh\ncd "{tmp_path}"\n'
        'echo "$TAP_PARTNERCENTER_MAX_REQUESTS_PER_MINUTE" >"$TAP_PARTNERCENTER_SHARD_INDEX"\n'
    )
    meltano.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    subprocess.run(["/bin/sh", "-c", script()], env={"PATH": path}, check=True)
    first, *others = [int((tmp_path / f"{index}").read_text()) for index in range(4)]
    assert sum(others) == first


@pytest.mark.e2e
def test_shards_load_one_schema_at_once(chain: Chain, start: Start) -> None:
    """One alone, then three at once: every row of the API, once."""
    emulator = start(customers=90, resellers=5)
    loaded = subprocess.run(
        ["/bin/sh", "-c", script().replace("partnercenter_de", "side_by_side")],
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
