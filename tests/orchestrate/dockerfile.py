"""Execute a Dockerfile in a folder, without a container engine.

Only the instructions and forms used by this project's Dockerfile are supported. The image's folders
are below one root, shared by all stages: a COPY from a stage finds its files in place. The base
image is the machine that runs the tests.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDERS = ("opt", "project", "source", "tmp", "wheels")


@dataclass
class Stage:
    """What a stage passes on to the next one, and to whoever runs the image."""

    name: str
    base: str
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its arguments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if line.strip():
            name, _, arguments = line.partition(" ")
            yield name, arguments.strip()


def stages(text: str) -> dict[str, tuple[Stage, list[tuple[str, str]]]]:
    """Each stage with its settings, and its COPY and RUN instructions."""
    found: dict[str, tuple[Stage, list[tuple[str, str]]]] = {}
    for name, arguments in instructions(text):
        if name == "FROM":
            base, _, alias = arguments.split()
            above = found[base][0] if base in found else Stage(alias, base)
            stage = Stage(alias, base, dict(above.environment), above.folder, above.user)
            steps: list[tuple[str, str]] = []
            found[alias] = (stage, steps)
        elif name in {"ARG", "ENV"}:
            stage.environment |= dict(one.split("=", 1) for one in shlex.split(arguments))
        elif name == "WORKDIR":
            stage.folder = arguments
            steps.append((name, arguments))
        elif name == "USER":
            stage.user = arguments
        elif name == "ENTRYPOINT":
            stage.entrypoint = json.loads(arguments)
        else:
            steps.append((name, arguments))
    return found


@dataclass(frozen=True)
class Builder:
    """Builds stages below a root folder."""

    context: Path
    root: Path
    variables: Mapping[str, str]

    def here(self, text: str) -> str:
        """Replace the image's folders in a text with those below the root."""
        return re.sub(rf"(?<![\w.])/(?={'|'.join(FOLDERS)}\b)", f"{self.root}/", text)

    def environment(self, stage: Stage) -> dict[str, str]:
        """The variables of a stage."""
        found = dict(self.variables)
        for name, value in stage.environment.items():
            found[name] = self.here(value).replace("$PATH", found["PATH"])
        return found

    def build(self, text: str, *names: str) -> None:
        """Execute the stages with these names."""
        known = stages(text)
        for name in names:
            stage, steps = known[name]
            folder = self.root
            for step, arguments in steps:
                if step == "WORKDIR":
                    folder = self.root / arguments.lstrip("/")
                    folder.mkdir(parents=True, exist_ok=True)
                elif step == "RUN":
                    subprocess.run(
                        ["/bin/sh", "-ec", self.here(arguments)],
                        cwd=folder,
                        env=self.environment(stage),
                        check=True,
                    )
                elif step == "COPY":
                    self._copy(shlex.split(arguments), folder)
                else:
                    raise NotImplementedError(step)

    def _copy(self, arguments: list[str], folder: Path) -> None:
        *sources, target = arguments
        if sources[0].startswith("--from="):
            place = self.root / target.lstrip("/")
            assert sources[1] == target, "stages share their folders here"
            assert place.exists(), f"{place} was not built"
            return
        for source in sources:
            path = self.context / source
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "logs", "target")
                shutil.copytree(path, folder / target, ignore=ignored)
            else:
                shutil.copy(path, folder / target / path.name)
