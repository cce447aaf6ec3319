"""The command `partnercenter-emulator`: serve until stopped, or while another command runs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import queue
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .credentials import Credentials
from .emulator import Emulator
from .faults import Fault
from .options import Options, checked, option_table
from .running import run_command, without_proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

CREDENTIALS_PREFIX = "PARTNERCENTER_EMULATOR_"
EPILOG = f"""\
The secrets are generated at each start. To choose them, set any of the environment variables
{CREDENTIALS_PREFIX}TENANT_ID, _CLIENT_ID, _CLIENT_SECRET and _REFRESH_TOKEN.
"""
EXIT_USAGE = 2
STOPPED_BY = ("SIGINT", "SIGTERM", "SIGBREAK")
POLL_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    own = list(sys.argv[1:] if arguments is None else arguments)
    # What follows the first `--` belongs to another program; argparse would parse it.
    split = own.index("--") if "--" in own else len(own)
    own, command = own[:split], own[split + 1 :]
    parser = build_parser()
    given = parser.parse_args(own)
    if bool(command) != (given.action == "exec"):
        parser.error("exec requires `-- command`, and only exec accepts one")
    try:
        emulator = _emulator(given)
        emulator.start()
    except (OSError, ValueError, OverflowError) as error:
        sys.stderr.write(f"partnercenter-emulator: {error}\n")
        return EXIT_USAGE
    try:
        if given.action == "serve":
            return _serve(emulator)
        no_proxy = without_proxy(os.environ, emulator.url)
        return run_command(command, os.environ | emulator.environment() | no_proxy)
    finally:
        emulator.stop()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; the emulator's options come from the table of `Options`."""
    parser = argparse.ArgumentParser(
        prog="partnercenter-emulator",
        description="An emulator of the Microsoft Partner Center REST API.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="serve | exec")
    serve = actions.add_parser(
        "serve", help="serve until stopped", description="Serve until stopped.", epilog=EPILOG
    )
    execute = actions.add_parser(
        "exec",
        usage="%(prog)s [options] -- command [argument ...]",
        help="serve while another command runs",
        description=(
            "Serve while another command runs. The command finds the addresses and credentials in "
            "TAP_PARTNERCENTER_* and PARTNERCENTER_EMULATOR_URL; its exit code is passed on."
        ),
        epilog=EPILOG,
    )
    for action, port in ((serve, 8080), (execute, 0)):
        _add_server_flags(action, port)
        _add_option_flags(action)
    return parser


def _add_server_flags(parser: argparse.ArgumentParser, port: int) -> None:
    server = parser.add_argument_group("server")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    server.add_argument(
        "--port", type=int, default=port, help="port, 0 for a free one (%(default)s)"
    )
    server.add_argument(
        "--allow-remote", action="store_true", help="allow a host that other machines can reach"
    )
    server.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help=(
            "host name that may be used for the admin API, in addition to localhost; may be "
            "repeated"
        ),
    )
    server.add_argument(
        "--faults", type=Path, metavar="FILE", help="JSON list of fault rules to start with"
    )


def _add_option_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("emulator")
    for option in option_table():
        settings: dict[str, Any] = {
            "default": option.default,
            "help": f"{option.description} (%(default)s)",
        }
        match option.kind:
            case "flag":
                settings["action"] = argparse.BooleanOptionalAction
            case "choice":
                settings["choices"] = option.choices
            case "int":
                settings |= {"type": int, "metavar": "N"}
            case "float":
                settings |= {"type": float, "metavar": "SECONDS"}
        group.add_argument(option.flag, **settings)


def _emulator(given: argparse.Namespace) -> Emulator:
    options = checked(
        Options(**{option.name: getattr(given, option.name) for option in option_table()})
    )
    faults: list[Fault] = []
    if given.faults is not None:
        faults = msgspec.json.decode(given.faults.read_bytes(), type=list[Fault])
    chosen = {
        field.name: os.environ.get(CREDENTIALS_PREFIX + field.name.upper())
        for field in dataclasses.fields(Credentials)
    }
    return Emulator(
        options,
        faults=faults,
        credentials=Credentials(**{name: text for name, text in chosen.items() if text}),
        host=given.host,
        port=given.port,
        allow_remote=given.allow_remote,
        allowed_hosts=given.allowed_host,
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _serve(emulator: Emulator) -> int:
    # Unlike an event, it takes no lock that the code interrupted by a signal may hold.
    stopped: queue.SimpleQueue[None] = queue.SimpleQueue()
    for name in STOPPED_BY:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stopped.put(None))
    counts = emulator.counts()
    customers, resellers = counts["customers"], counts["resellers"]
    size = f"{_counted(customers, 'customer')} and {_counted(resellers, 'reseller')}"
    lines = [
        f"# Partner Center emulator at {emulator.url} with {size}",
        *(f"export {name}={shlex.quote(text)}" for name, text in emulator.environment().items()),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    while True:
        # On Windows no signal handler runs during a wait.
        with contextlib.suppress(queue.Empty):
            stopped.get(timeout=POLL_SECONDS)
            return 0
