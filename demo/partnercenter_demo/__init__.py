"""Shows tap-partnercenter at work: emulator, Meltano, PostgreSQL and dbt in one command."""

from __future__ import annotations
