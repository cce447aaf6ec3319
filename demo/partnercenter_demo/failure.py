"""The only failure that the demo reports itself."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot continue.

    Attributes:
        details: Output of another program about it, to be shown before the message.
    """

    def __init__(self, message: str, details: str = "") -> None:
        """Describe in one line what failed and what to do."""
        super().__init__(message)
        self.details = details
