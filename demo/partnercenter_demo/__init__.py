"""Shows tap-partnercenter at work: emulator, Meltano and PostgreSQL in one command."""

from __future__ import annotations
