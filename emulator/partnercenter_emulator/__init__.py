"""An emulator of the Microsoft Partner Center REST API, for tests that need a real server."""

from __future__ import annotations

from .app import create_app
from .credentials import Credentials
from .emulator import Emulator
from .faults import Fault
from .fixture import Fixture
from .journal import LoggedRequest, Stats
from .options import Options
from .state import State

__all__ = [
    "Credentials",
    "Emulator",
    "Fault",
    "Fixture",
    "LoggedRequest",
    "Options",
    "State",
    "Stats",
    "create_app",
]
