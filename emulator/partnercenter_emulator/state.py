"""The whole state of one running emulator in one object."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import TYPE_CHECKING, Any

from .audit import AuditLog
from .authorize import SignInPages
from .changes import Changes
from .continuation import Continuations
from .credentials import Credentials, TokenStore
from .data import GeneratedPopulation
from .directory import Directory
from .entra import TokenEndpoint
from .faults import Fault, FaultBook
from .fixture import Fixture, FixturePopulation
from .grants import Grants
from .holdings import Holdings
from .journal import Journal
from .options import Options, changed, checked
from .quota import Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .calls import Call
    from .journal import Stats

QUOTA_OPTIONS = (
    "requests_per_minute",
    "window_seconds",
    "quota_model",
    "burst",
    "quota_scope",
    "count_refused",
)


class State:
    """One emulator's data, credentials, options, rules and memory.

    Not thread-safe: while a server runs, only its event loop may use it.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        fixture: Fixture | None = None,
        faults: Iterable[Fault] = (),
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare an emulator.

        Args:
            options: Its behaviour.
            fixture: Data to serve instead of generated data.
            faults: Rules in force from the start.
            credentials: What clients sign in with; new secrets by default.
            clock: Source of time, seconds since the epoch; quotas and lifetimes follow it.

        Raises:
            ValueError: An option or a rule has an invalid value.
        """
        self.options = checked(options or Options())
        self.credentials = credentials or Credentials()
        self.clock = clock
        seed = self.options.seed
        self.directory: Directory = Directory(
            FixturePopulation(fixture)
            if fixture is not None
            else GeneratedPopulation(seed, self.options.customers, self.options.resellers)
        )
        self.holdings: Holdings = Holdings(self.directory, seed, self.options.invoices, fixture)
        self.audit: AuditLog = AuditLog(
            self.directory, self.credentials.tenant_id, clock, seed, fixture
        )
        self.tokens = TokenStore(self.credentials, clock)
        grants = Grants(clock)
        self.token_endpoint = TokenEndpoint(self.credentials, self.tokens, grants, clock)
        self.sign_in_pages = SignInPages(self.credentials, grants)
        self.continuations = Continuations(self.credentials, clock)
        self.quota = Quota(self.options)
        self.faults = FaultBook()
        self.faults.replace(faults)
        self.journal = Journal(self.options.request_log, clock)
        self.changes = Changes(self)
        self._vector = secrets.token_urlsafe(9)
        self._responses = itertools.count(1)

    def configure(self, changes: dict[str, Any]) -> None:
        """Change options at run time; a changed quota starts unused.

        Raises:
            ValueError: An option is unknown, has an invalid value, or cannot be changed.
        """
        before, self.options = self.options, changed(self.options, changes)
        if any(getattr(before, name) != getattr(self.options, name) for name in QUOTA_OPTIONS):
            self.quota = Quota(self.options)

    def quota_key(self, call: Call) -> str:
        """Return the name of the quota that a request counts against."""
        return call.customer_id or "" if self.options.quota_scope == "customer" else ""

    def next_vector(self) -> bytes:
        """Return a new value for the header `MS-CV`."""
        return f"{self._vector}{next(self._responses):04x}.0".encode()

    def stats(self) -> Stats:
        """Return the counts since the start or the last reset."""
        return self.journal.stats(self.tokens.issued)

    def reset_stats(self) -> None:
        """Reset the counts and forget the requests."""
        self.journal.reset(self.tokens.issued)
