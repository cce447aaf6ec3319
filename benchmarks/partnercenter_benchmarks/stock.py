"""The contestant `stock`: the naive tap with what the SDK's documentation recommends for speed.

- Its page on parents and children: `state_partitioning_keys`, so that the state does not keep a
  bookmark for each of thousands of parents.
- Its page on performance: `MsgSpecWriter`. Its other recommendation, BATCH messages, is left out
  because it requires a target that reads them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter

from .naive import NaiveTap

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .naive import PlainStream


class StockTap(NaiveTap):
    """The tap."""

    name = "stock"
    message_writer_class = MsgSpecWriter

    @override
    def discover_streams(self) -> Sequence[PlainStream]:
        streams = super().discover_streams()
        for stream in streams:
            stream.state_partitioning_keys = ()
        return streams


if __name__ == "__main__":
    StockTap.cli()
