"""The library's main class: an emulator on a port of this machine."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from .app import create_app
from .changes import AuditOptions
from .server import ServerThread, is_loopback
from .state import State
from .truth import held

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from .credentials import Credentials
    from .data import Record
    from .faults import Fault
    from .fixture import Fixture
    from .journal import LoggedRequest, Stats
    from .options import Options

T = TypeVar("T")

RECORDS_AT_ONCE = 500


class Emulator:
    """A Partner Center of one partner, served over HTTP from a thread of this process.

    Use it as a context manager, or call `start` and `stop`. Every member may be used from any
    thread, before, during and after serving.
    """

    def __init__(  # noqa: PLR0913 - all but the options are rarely given
        self,
        options: Options | None = None,
        *,
        faults: Iterable[Fault] = (),
        fixture: Fixture | None = None,
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        allow_remote: bool = False,
        allowed_hosts: Collection[str] = (),
    ) -> None:
        """Prepare an emulator; nothing is served yet.

        Args:
            options: Its behaviour and the size of its data.
            faults: Rules in force from the start.
            fixture: Data to serve instead of generated data.
            credentials: What clients sign in with; new secrets by default.
            clock: Source of time, seconds since the epoch; quotas and lifetimes follow it.
            host: Address to listen on.
            port: Port to listen on, 0 for a free one.
            allow_remote: Allow a host that other machines can reach.
            allowed_hosts: Host names that the admin API accepts, besides `host`, `localhost` and
                any IP address.

        Raises:
            ValueError: An option or a rule has an invalid value, or the host is not loopback.
        """
        if not (allow_remote or is_loopback(host)):
            msg = f"{host} is reachable from other machines; allow that explicitly or use 127.0.0.1"
            raise ValueError(msg)
        self._state = State(
            options, faults=faults, fixture=fixture, credentials=credentials, clock=clock
        )
        self._host, self._port = host, port
        self._allowed_hosts = {host, *allowed_hosts}
        self._server: ServerThread | None = None
        #: Held to start, stop or call the server, so that a stopped server is never called.
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Start serving."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop serving."""
        self.stop()

    def start(self) -> None:
        """Start serving; returns once requests are answered.

        Raises:
            OSError: The address cannot be bound.
        """
        with self._lock:
            if self._server is None:
                app = create_app(self._state, allowed_hosts=self._allowed_hosts)
                self._server = ServerThread(app, self._host, self._port)

    def stop(self) -> None:
        """Drop all connections and stop serving; the emulator keeps its data."""
        with self._lock:
            if self._server is not None:
                try:
                    self._server.stop()
                finally:
                    self._server = None

    @property
    def url(self) -> str:
        """Origin of the API and of the token endpoint, such as `http://127.0.0.1:40123`.

        Raises:
            RuntimeError: The emulator is not serving.
        """
        server = self._server
        if server is None:
            msg = "the emulator is not serving: use it in a with statement or call start()"
            raise RuntimeError(msg)
        return server.url

    @property
    def credentials(self) -> Credentials:
        """What clients sign in with."""
        return self._state.credentials

    def tap_config(self, *, app_only: bool = False) -> dict[str, str]:
        """Return the settings of tap-partnercenter; app-only omits the refresh token."""
        credentials = self.credentials
        config = {
            "tenant_id": credentials.tenant_id,
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "refresh_token": credentials.refresh_token,
            "api_url": self.url,
            "auth_url": self.url,
        }
        if app_only:
            del config["refresh_token"]
        return config

    def environment(self, *, app_only: bool = False) -> dict[str, str]:
        """Return `tap_config` as environment variables, and `PARTNERCENTER_EMULATOR_URL`."""
        config = self.tap_config(app_only=app_only)
        variables = {f"TAP_PARTNERCENTER_{name.upper()}": text for name, text in config.items()}
        return variables | {"PARTNERCENTER_EMULATOR_URL": self.url}

    @property
    def options(self) -> Options:
        """The options in force."""
        return self._state.options

    def configure(self, **changes: object) -> None:
        """Change options while the emulator runs.

        Raises:
            ValueError: An option is unknown, has an invalid value, or cannot be changed.
        """
        self._call(lambda: self._state.configure(changes))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The rules in force; assign others to replace them and reset their counts.

        Raises:
            ValueError: A rule has an invalid value.
        """
        return self._state.faults.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        rules = list(faults)
        self._call(lambda: self._state.faults.replace(rules))

    def stats(self) -> Stats:
        """Return the counts since the start or the last reset."""
        return self._call(self._state.stats)

    @property
    def requests(self) -> list[LoggedRequest]:
        """The latest requests, oldest first."""
        return self._call(lambda: list(self._state.journal.requests))

    def reset_stats(self) -> None:
        """Reset the counts and forget the requests."""
        self._call(self._state.reset_stats)

    def held(self, place: str) -> Iterator[Record]:
        """Yield every record of a place (`subscriptions`) as the API returns it, in its order.

        Records of a customer's collection have `customer_id` added, and those of `partition`
        have `reseller_id`.

        Raises:
            KeyError: This place has no records.
        """
        return self._records(held(self._state, place))

    def customers(self) -> Iterator[Record]:
        """Yield all customers as the API lists them, in its order."""
        return self.held("customers")

    def resellers(self) -> Iterator[Record]:
        """Yield the indirect resellers as the API lists them, in its order."""
        return self.held("resellers")

    def memberships(self) -> Iterator[Record]:
        """Yield `reseller_id` and `customer_id` for each customer in a reseller's list."""
        return self.held("memberships")

    def relationships(self) -> Iterator[Record]:
        """Yield each customer's relationship records with `customer_id` added."""
        return self.held("relationships")

    def counts(self) -> dict[str, int]:
        """Return how many customers, resellers, memberships and direct customers there are."""
        return self._call(self._state.directory.counts)

    def create_customer(
        self,
        name: str,
        *,
        domain: str | None = None,
        reseller_id: str | None = None,
        audited: bool = True,
        late: float = 0,
    ) -> Record:
        """Add a customer at the end of the list and return its record.

        Args:
            name: The company's name.
            domain: Its domain; a new one by default.
            reseller_id: The reseller that serves it; None for a direct customer.
            audited: Whether the audit log records it, here and for the other changes below.
            late: Seconds until it does, in addition to the option `audit_delay`.

        Raises:
            KeyError: There is no such reseller.
            ValueError: The domain belongs to another customer.
        """
        audit_options = AuditOptions(audited, late)
        return self._call(
            lambda: self._state.changes.create_customer(
                name, domain=domain, reseller_id=reseller_id, audit_options=audit_options
            )
        )

    def remove_customer(self, customer_id: str, *, audited: bool = True, late: float = 0) -> None:
        """Delete a customer; KeyError if it does not exist."""
        audit_options = AuditOptions(audited, late)
        self._call(lambda: self._state.changes.remove_customer(customer_id, audit_options))

    def rename_customer(
        self, customer_id: str, name: str, *, audited: bool = True, late: float = 0
    ) -> None:
        """Change a customer's company name; KeyError if it does not exist."""
        audit_options = AuditOptions(audited, late)
        self._call(lambda: self._state.changes.rename_customer(customer_id, name, audit_options))

    def move_customer(self, customer_id: str, reseller_id: str | None) -> None:
        """Assign a customer to one reseller only, or to none; this is never audited.

        Raises:
            KeyError: There is no such customer or reseller.
        """
        self._call(lambda: self._state.changes.move_customer(customer_id, reseller_id))

    def add(
        self,
        place: str,
        record: Record,
        customer_id: str | None = None,
        *,
        audited: bool = True,
        late: float = 0,
    ) -> Record:
        """Add a record to a customer's collection, or to one of the partner, and return it.

        Missing members are generated. At `relationships` the record's `id` is that of the reseller;
        at `audit_records` it is an entry of the log itself.

        Raises:
            KeyError: There is no such place, customer or reseller.
        """
        audit_options = AuditOptions(audited, late)
        return self._call(
            lambda: self._state.changes.add(place, record, customer_id, audit_options)
        )

    def change(  # noqa: PLR0913 - where, what, and the audit record
        self,
        place: str,
        key: str,
        members: Record,
        customer_id: str | None = None,
        *,
        audited: bool = True,
        late: float = 0,
    ) -> Record:
        """Replace members of a record and return the result.

        `key` is the record's id; for an agreement its `dateAgreed`, for a subscribed SKU that of
        the product, and at `customer` the customer's.

        Raises:
            KeyError: There is no such place, customer or record.
        """
        audit_options = AuditOptions(audited, late)
        return self._call(
            lambda: self._state.changes.change(place, key, members, customer_id, audit_options)
        )

    def remove(
        self,
        place: str,
        key: str,
        customer_id: str | None = None,
        *,
        audited: bool = True,
        late: float = 0,
    ) -> None:
        """Remove a record; `key` as for `change`, and a reseller's id at `relationships`.

        Raises:
            KeyError: There is no such place, customer or record.
        """
        audit_options = AuditOptions(audited, late)
        self._call(lambda: self._state.changes.remove(place, key, customer_id, audit_options))

    def _call(self, function: Callable[[], T]) -> T:
        """Run `function` where the state may be used: on the server's loop while it serves."""
        server = self._server
        if server is not None and server.is_current:
            # The lock's owner may be waiting for this thread.
            return function()
        with self._lock:
            return function() if self._server is None else self._server.call(function)

    def _records(self, source: Iterator[Record]) -> Iterator[Record]:
        while records := self._call(lambda: list(itertools.islice(source, RECORDS_AT_ONCE))):
            yield from records
