"""Where an interrupted full table resumes: stored in the stream's bookmark, in constant size."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_partnercenter.pagination import (
    Continuation,
    UnusableContinuation,
    absolute_url,
    checked_header,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence
    from logging import Logger

#: Seconds after which an interrupted pass is not resumed: its first pages are too old.
OLDEST = 24 * 3600
_KEY = "resume"


@dataclass(frozen=True, slots=True)
class Position:
    """The next page of an unfinished pass.

    Attributes:
        version: Version that the records of the pass carry: seconds since the epoch.
        partition: Reseller whose customers are being read, None in a stream without partitions.
        continuation: The next page of that partition, None for its first.
        skipped: Number of customers skipped so far, by child stream.
    """

    version: int
    partition: str | None = None
    continuation: Continuation | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)


def scope_digest(scope: Sequence[Any]) -> str:
    """Return a digest of what a pass covers."""
    return hashlib.sha256(json.dumps(scope, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Reads and writes the position of one stream, in its bookmark.

    Attributes:
        bookmarks: Those of all streams, in the state.
        stream: Its name.
        url: Address of its first page: a continuation leads to the same collection.
        partitions: Those of the stream; a single None for a stream without partitions.
        scope: Digest of what the pass covers; positions with another scope are ignored.
        logger: Logs a position that leads to another collection.
    """

    bookmarks: MutableMapping[str, Any]
    stream: str
    url: str
    partitions: Sequence[str | None]
    scope: str
    logger: Logger

    def position(self, now: float) -> Position | None:
        """Return where an earlier run stopped, or None to read from the start.

        `now` is in seconds since the epoch.
        """
        stored: Any = self.bookmarks.get(self.stream, {}).get(_KEY)
        try:
            if (
                stored["scope"] != self.scope
                or not 0 <= now - stored["version"] <= OLDEST
                or stored.get("partition") not in self.partitions
            ):
                return None
            continuation = None
            if "uri" in stored:
                continuation = Continuation(
                    self._own(stored["uri"]),
                    tuple(checked_header(name, value) for name, value in stored["headers"]),
                    largest=int(stored["largest"]),
                )
            skipped = stored["skipped"]
            if isinstance(skipped, int):
                # Written before there was a second child stream.
                skipped = {"customer_relationships": skipped}
            return Position(
                int(stored["version"]),
                stored.get("partition"),
                continuation,
                {str(stream): int(count) for stream, count in skipped.items()},
            )
        except (
            TypeError,
            KeyError,
            ValueError,
            OverflowError,
            AttributeError,
            UnusableContinuation,
        ):
            # State may be edited by hand or written by other versions: ignore what cannot be read.
            return None

    def save(self, position: Position) -> None:
        """Store the position. The caller writes the STATE message."""
        stored: dict[str, Any] = {
            "scope": self.scope,
            "version": position.version,
            "skipped": dict(position.skipped),
        }
        if position.partition is not None:
            stored["partition"] = position.partition
        if position.continuation is not None:
            parts = urlsplit(position.continuation.url)
            stored["uri"] = f"{parts.path}?{parts.query}" if parts.query else parts.path
            stored["headers"] = [list(pair) for pair in position.continuation.headers]
            stored["largest"] = position.continuation.largest
        self._bookmark[_KEY] = stored

    def _own(self, uri: str) -> str:
        """Return a URL unless it leads to another collection, whose rows would pass for ours."""
        first_page = urlsplit(self.url)
        url = absolute_url(uri, first_page._replace(path="").geturl())
        path = urlsplit(url).path
        if path.rstrip("/").lower() != first_page.path.lower():
            self.logger.warning(
                "%s: the state points to another collection (%s), so the stream is read from the "
                "start",
                self.stream,
                path,
            )
            raise UnusableContinuation(path)
        return url

    def clear(self) -> None:
        """Remove the position: the stream is complete or starts again."""
        self._bookmark.pop(_KEY, None)

    @property
    def _bookmark(self) -> MutableMapping[str, Any]:
        bookmark: MutableMapping[str, Any] = self.bookmarks.setdefault(self.stream, {})
        return bookmark
