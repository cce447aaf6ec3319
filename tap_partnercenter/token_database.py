"""Refresh tokens in a PostgreSQL database, which workers without a disk can share."""

from __future__ import annotations

import contextlib
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.token_store import Lock, NotLockable, NotStored, TokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds to wait for a connection.
_CONNECT_TIMEOUT = 10
_TABLE = sa.Table(
    "tap_partnercenter_tokens",
    sa.MetaData(),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
)


class TokenTable(TokenStore):
    """One row of a table, locked by an advisory lock, which needs no write permission."""

    def __init__(self, url: str, account: str, lock: Lock) -> None:
        """Set up without connecting yet.

        Args:
            url: Of the database, `postgresql://…`.
            account: Owner of the tokens, which is the name of the row.
            lock: How long to wait for other processes.
        """
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
        host = address.host or address.query.get("host") or "localhost"
        self.place = f"the database {address.database} at {host}"
        self._engine = sa.create_engine(
            address,
            poolclass=sa.NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": _CONNECT_TIMEOUT},
        )
        self._name = account
        digest = hashlib.sha256(f"{_TABLE.name} {account}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self._waiting = lock
        self._holder: sa.Connection | None = None

    @override
    @contextmanager
    def locked(self) -> Iterator[None]:
        try:
            with self._waiting.held(self._acquire, lambda: None):
                yield
        finally:
            # The lock is released with its transaction, which ends with its connection.
            holder, self._holder = self._holder, None
            if holder is not None:
                with contextlib.suppress(sa.exc.SQLAlchemyError):
                    holder.close()

    def _acquire(self) -> bool:
        try:
            if self._holder is None:
                self._holder = self._engine.connect()
            locked = sa.func.pg_try_advisory_xact_lock(self._key)
            return bool(self._holder.execute(sa.select(locked)).scalar())
        except sa.exc.SQLAlchemyError as error:
            raise NotLockable(_reason(error)) from None

    @override
    def read(self) -> bytes | None:
        row = sa.select(_TABLE.c.content).where(_TABLE.c.name == self._name)
        try:
            with self._engine.connect() as connection:
                if not sa.inspect(connection).has_table(_TABLE.name):
                    return None
                content = connection.execute(row).scalar()
        except sa.exc.SQLAlchemyError as error:
            message = (
                f"token_cache_path: {self.place} cannot be read ({_reason(error)}). Check host, "
                f"user, password, and the user's right to read the table {_TABLE.name}."
            )
            raise PartnerCenterError(message) from None
        return None if content is None else bytes(content)

    @override
    def write(self, document: bytes) -> None:
        values: dict[str, Any] = {"content": document, "changed_at": sa.func.now()}
        upsert = (
            insert(_TABLE)
            .values(name=self._name, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values)
        )
        try:
            # If another process is creating the table at this moment, it exists then.
            with contextlib.suppress(sa.exc.IntegrityError, sa.exc.ProgrammingError):
                _TABLE.create(self._engine, checkfirst=True)
            with self._engine.begin() as connection:
                connection.execute(upsert)
        except sa.exc.SQLAlchemyError as error:
            raise NotStored(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Describe what went wrong, without the message, which may quote the data that was sent."""
    return type(getattr(error, "orig", None) or error).__name__
