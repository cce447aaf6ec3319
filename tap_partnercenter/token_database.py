"""Refresh tokens in a PostgreSQL database, which workers without a disk can share."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import make_url
from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.token_store import Lock, NotLockable, NotStored, TokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds to wait for a connection, and then for the database's response, unless a response may
#: take even less.
_TIMEOUT = 10
_TABLE = "tap_partnercenter_tokens"
_READ = f"select content::bytea from {_TABLE} where name = %s"  # noqa: S608 - a constant
_WRITE = f"""
insert into {_TABLE} (name, content, changed_at) values (%s, %s, now())
on conflict (name) do update set content = excluded.content, changed_at = excluded.changed_at
"""  # noqa: S608 - a constant
_CREATE = f"""
create table if not exists {_TABLE} (
    name varchar(64) primary key, content bytea not null, changed_at timestamptz not null
)
"""


class TokenTable(TokenStore):
    """One row of a table, locked by an advisory lock, which needs no write permission."""

    def __init__(self, url: str, account: str, lock: Lock, timeout: int) -> None:
        """Set up without connecting yet.

        Args:
            url: Of the database, `postgresql://…`.
            account: Owner of the tokens, which is the name of the row.
            lock: How long to wait for other processes.
            timeout: Seconds that any response may take.
        """
        # Unlike libpq, it accepts a password with a slash or a percent sign, and quotes none.
        address = make_url(url).set(drivername="postgresql+psycopg")
        host = address.host or address.query.get("host") or "localhost"
        self.place = f"the database {address.database} at {host}"
        self._timeout = min(_TIMEOUT, timeout)
        arguments: Any = address.get_dialect()().create_connect_args(address)[1]
        self._arguments = {
            **arguments,
            "autocommit": True,
            "connect_timeout": self._timeout,
            "prepare_threshold": None,  # a connection pooler may pass it on to others
        }
        self._name = account
        digest = hashlib.sha256(f"{_TABLE} {account}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._waiting = lock

    @override
    @contextmanager
    def locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            # `read` reports why there is no connection.
            with suppress(psycopg.Error):
                # The lock is released with its transaction, which ends with its connection.
                holder = stack.enter_context(closing(self._connect()))
                stack.enter_context(self._waiting.held(lambda: self._lock(holder), lambda: None))
            yield

    def _lock(self, holder: psycopg.Connection[Any]) -> bool:
        try:
            with self._in_time(holder):
                if holder.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    holder.execute("begin")
                row = holder.execute("select pg_try_advisory_xact_lock(%s)", [self._key]).fetchone()
        except psycopg.Error as error:
            raise NotLockable(_reason(error)) from None
        return bool(row and row[0])

    @override
    def read(self) -> bytes | None:
        try:
            with self._connected() as connection:
                row = connection.execute(_READ, [self._name]).fetchone()
        except psycopg.errors.UndefinedTable:
            return None
        except psycopg.Error as error:
            message = (
                f"token_cache_path: {self.place} cannot be read ({_reason(error)}). Check host, "
                f"user, password, and the user's right to read the table {_TABLE}."
            )
            raise PartnerCenterError(message) from None
        return None if row is None else row[0]

    @override
    def write(self, document: bytes) -> None:
        try:
            with self._connected() as connection:
                try:
                    connection.execute(_WRITE, [self._name, document])
                except psycopg.errors.UndefinedTable:
                    # If another process is creating the table at this moment, it exists then.
                    with suppress(psycopg.errors.UniqueViolation):
                        connection.execute(_CREATE)
                    connection.execute(_WRITE, [self._name, document])
        except psycopg.Error as error:
            raise NotStored(_reason(error)) from None

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(**self._arguments)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        with closing(self._connect()) as connection, self._in_time(connection):
            yield connection

    @contextmanager
    def _in_time(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Break the connection if the database does not respond in time.

        Its own timeouts do not help if it hangs, or if a connection pooler waits for it.

        Raises:
            OperationalError: If it did not, or as what is done meanwhile.
        """
        late = threading.Event()
        # The family is irrelevant, and this handle is valid even if the connection is closed.
        handle = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)

        def give_up() -> None:
            late.set()
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._timeout, give_up)
        timer.daemon = True
        timer.start()
        try:
            with handle:
                yield
        except psycopg.OperationalError:
            if late.is_set():
                message = f"no response within {self._timeout} s"
                raise psycopg.OperationalError(message) from None
            raise
        finally:
            timer.cancel()


def _reason(error: psycopg.Error) -> str:
    """Describe what went wrong on one line.

    A message of the database may quote the data that was sent, so its name is used instead. One
    about the connection quotes host, port and user at most.
    """
    if error.sqlstate is not None or not str(error):
        return type(error).__name__
    return str(error).splitlines()[0].removeprefix("connection failed: ")
