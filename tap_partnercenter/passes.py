"""Tables that are read in full, in passes: when a pass may delete what it did not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_partnercenter.names import counted
from tap_partnercenter.stream import PartnerCenterStream

if TYPE_CHECKING:
    from tap_partnercenter.pages import Page


class PassStream(PartnerCenterStream):
    """A stream whose table a pass fills: a root stream, or a child of one.

    At the end of a pass without a gap the target may drop the rows that the pass did not hold.
    """

    #: Customers that the pass had to leave out. A pass with gaps must not delete rows.
    skipped = 0
    #: Whether an earlier run read the first pages of the pass.
    resumed = False
    #: Rows that the pass has read, before any stream map.
    held = 0
    #: Whether the pass held so few rows that the service is to be doubted.
    shrunk = False

    def begin_pass(self, version: int, *, resumed: bool, skipped: int) -> None:
        """Begin a pass, or go on with one of which an earlier run skipped some customers."""
        self.resumed, self.skipped, self.held = resumed, skipped, 0
        if skipped:
            self.logger.warning(
                "%s: the interrupted run skipped %s, whose rows are missing too",
                self.name,
                counted(skipped, "customer"),
            )
        if self.run.settings.delete_vanished:
            self.use_version(version)

    @override
    def note_page(self, page: Page) -> None:
        super().note_page(page)
        self.held += len(page.records)

    def end_pass(self, version: int) -> None:
        """Close a complete pass over the table: the target may drop what the pass did not hold."""
        self.ensure_schema_sent()
        deletes = self.run.settings.delete_vanished
        if gap := self.gap():
            # Of a resumed pass it was said when it was resumed.
            if deletes and not self.resumed:
                self.logger.info("%s: %s, so deletes are disabled for this run", self.name, gap)
        elif not self._has_shrunk() and deletes:
            self.activate_version(version)

    def gap(self) -> str | None:
        """Say why the pass may not have held all that the table should hold, None if it did."""
        if self.resumed:
            # Its first pages are up to a day old, and where the service counts by position, rows
            # that left meanwhile have moved others over to the pages that were read.
            return "the pass was resumed"
        if self.skipped:
            return f"{counted(self.skipped, 'customer')} skipped"
        return None

    def _has_shrunk(self) -> bool:
        """Compare the rows with those of the last complete pass, whose number the bookmark has.

        A number that causes doubt is not kept: the next pass is compared with the same one.
        """
        settings = self.run.settings
        if settings.shard.count > 1:
            return False  # a part of the rows, and never a version
        bookmark = self.tap_state.setdefault("bookmarks", {}).setdefault(self.name, {})
        before, most = bookmark.get("rows"), settings.max_vanished_percent
        self.shrunk = (
            settings.delete_vanished
            # State is edited by hand, too.
            and type(before) is int
            and (before - self.held) * 100 > most * before
        )
        if self.shrunk:
            self.logger.warning(
                "%s: %s, %d in the last complete pass: more than max_vanished_percent (%d) "
                "are gone, so deletes are disabled for this run. A sudden drop usually means lost "
                "permissions. If the rows are really gone, run once with a higher "
                "max_vanished_percent (100 disables the check)",
                self.name,
                counted(self.held, "row"),
                before,
                most,
            )
        else:
            bookmark["rows"] = self.held
        return self.shrunk
