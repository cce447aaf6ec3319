"""The one kind of failure that the demo reports by itself."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on.

    Attributes:
        details: What another program said about it, for showing before the message.
    """

    def __init__(self, message: str, details: str = "") -> None:
        """Say in one line what failed and what to do."""
        super().__init__(message)
        self.details = details
