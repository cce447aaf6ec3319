"""Which customers and resellers belong to this process, when several share the work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def hashed(identity: str) -> bytes:
    """Return the MD5 of an id in lower case, which most databases can compute as well."""
    return hashlib.md5(identity.lower().encode(), usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of all ids.

    Attributes:
        count: Total number of parts.
        index: This part, from 0.
    """

    count: int
    index: int

    def owns(self, identity: str) -> bool:
        """Return whether an id belongs to this part: on any machine, each id is in exactly one.

        The part is the remainder of the first four bytes of :func:`hashed`.
        """
        return int.from_bytes(hashed(identity)[:4], "big") % self.count == self.index
