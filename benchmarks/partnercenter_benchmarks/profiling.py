"""Where the tap's processor time goes, sampled from outside the process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .results import Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .contestants import Contestant
    from .scenarios import Case, Entry
    from .server import Server

RATE = 200
SHOWN = 12
START_UP = "start-up: imports"
#: Owner of a function by the file that it stands in. What is written in C counts for the Python
#: function that calls it.
OWNERS = (
    ("the tap", r"tap_partnercenter/"),
    ("the SDK", r"singer_sdk/"),
    ("HTTP client", r"requests/|urllib3/|http/|socket\.py|ssl\.py|selectors\.py|email/|idna/"),
    ("threads", r"threading\.py|concurrent/|queue\.py"),
)
REST = "rest of Python"
_FRAME = re.compile(r"(?P<function>\S+) \((?P<file>[^()]*?)(:\d+)?\)$")


def profile(case: Case, entry: Entry, contestant: Contestant, server: Server) -> Profile | None:
    """Run the tap under py-spy; nothing where the system does not let it look."""
    sampler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        settings = {
            **server.settings,
            "page_size": case.page_size,
            "max_concurrent_requests": entry.concurrency,
        }
        stacks = folder / "stacks"
        options = ["--format", "raw", "--rate", str(RATE), "--output", str(stacks)]
        # Threads that wait for work or for the server would count as busy otherwise.
        options += ["--gil", "--nolineno"]
        command = contestant.command(folder, settings, case.streams)
        try:
            subprocess.run(  # noqa: S603 - our own command
                [sampler, "record", *options, "--", *command],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return summed_up(case.name, stacks.read_text(encoding="utf-8").splitlines())


def summed_up(case: str, stacks: Iterable[str]) -> Profile:
    """Sum samples up by owner and by function. A line holds a stack, and how often it was seen."""
    owners: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        # Without a frame: the interpreter begins, ends, or cleans up.
        owner, function = _owner(stack) if stack else (REST, "")
        owners[owner] += int(count)
        if stack and owner != START_UP:
            functions[function] += int(count)
    samples = max(1, owners.total())
    return Profile(
        case=case,
        samples=samples,
        owners={name: number / samples for name, number in owners.most_common()},
        functions={name: number / samples for name, number in functions.most_common(SHOWN)},
    )


def _owner(stack: str) -> tuple[str, str]:
    frames = stack.split(";")
    match = _FRAME.match(frames[-1])
    function, file = (match["function"], match["file"]) if match else (frames[-1], "")
    # From the place of the package on, wherever it is installed.
    file = re.sub(r"^.*?(?=(tap_partnercenter|singer_sdk|requests|urllib3)/)", "", file)
    named = f"{function} ({file})"
    if "<frozen importlib" in stack:
        return START_UP, named
    for owner, pattern in OWNERS:
        if re.match(pattern, file):
            return owner, named
    return REST, named
