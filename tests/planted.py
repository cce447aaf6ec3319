"""Planted secrets and names, an emulator that knows them, and the search for them."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from partnercenter_emulator import Credentials, Emulator, Fault, Options
from tests.command_line import Result, run_tap
from tests.truth import last_state

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_SECRET = "Cl1ent~Secret.planted"  # noqa: S105 - planted
REFRESH_TOKEN = "0.RefreshTokenPlanted_1"  # noqa: S105 - planted
ROTATED = "0.RotatedTokenPlanted_2"
ACCESS_TOKEN = "eyJ0.AccessTokenPlanted"  # noqa: S105 - planted
PASSWORD = "Passw0rdPlanted"  # noqa: S105 - planted
COMPANY = "Fabrikam"
MAIL = "ada@fabrikam.example"

SECRETS = [CLIENT_SECRET, REFRESH_TOKEN, ROTATED, ACCESS_TOKEN, PASSWORD]
NAMES = [COMPANY, MAIL]
LEAK = f"{MAIL} of {COMPANY} used {CLIENT_SECRET}, {REFRESH_TOKEN}, {ACCESS_TOKEN}, {PASSWORD}"


def forms(secret: str) -> list[str]:
    """A secret as encoded in a form, a header or a log."""
    return [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")]


def assert_no_secrets(result: Result) -> None:
    """Check that nothing planted is logged; only records may contain names."""
    state = json.dumps(last_state(result.stdout.splitlines()))
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in result.stderr
            assert form not in result.stdout
    for name in NAMES:
        assert name.lower() not in result.stderr.lower()
        assert name.lower() not in state.lower()


@contextmanager
def planted(*faults: Fault, **options: Any) -> Iterator[Emulator]:
    """An emulator with known credentials to search for."""
    credentials = Credentials(client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN)
    sizes = {"customers": 8, "resellers": 1, **options}
    with Emulator(Options(**sizes), faults=faults, credentials=credentials) as emulator:
        yield emulator


def run(emulator: Emulator, level: str, *arguments: str, **more: Any) -> Result:
    config = {**emulator.tap_config(), "page_size": 3, "max_retry_seconds": 5, **more}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAP_PARTNERCENTER_LOGLEVEL", level)
        return run_tap(*arguments, config=config)


def assert_no_secrets_in(text: str) -> None:
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in text
