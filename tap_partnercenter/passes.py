"""Tables that are read in full, in passes: when a pass may delete the rows it did not contain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from tap_partnercenter.stream import PartnerCenterStream
from tap_partnercenter.wording import counted

if TYPE_CHECKING:
    from tap_partnercenter.pages import Page


class PassStream(PartnerCenterStream):
    """A stream whose table is filled by a pass: a root stream, or a child of one.

    After a pass without a gap, the target may delete the rows that the pass did not contain.
    """

    #: Customers that the pass had to skip. A pass with gaps must not delete rows.
    skipped = 0
    #: Whether an earlier run read the first pages of the pass.
    resumed = False
    #: Rows that the pass has read, before any stream map.
    rows_read = 0
    #: Whether the pass contained suspiciously few rows.
    shrunk = False

    def begin_pass(self, version: int, *, resumed: bool, skipped: int) -> None:
        """Begin a pass, or continue one in which an earlier run skipped some customers."""
        self.resumed, self.skipped, self.rows_read = resumed, skipped, 0
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
        self.rows_read += len(page.records)

    def end_pass(self, version: int) -> None:
        """Complete a pass over the table: the target may delete the rows it did not contain."""
        self.ensure_schema_sent()
        deletes = self.run.settings.delete_vanished
        if gap := self.gap():
            # For a resumed pass this was logged when it was resumed.
            if deletes and not self.resumed:
                self.logger.info("%s: %s, so deletes are disabled for this run", self.name, gap)
        elif not self._has_shrunk() and deletes:
            self.activate_version(version)

    @property
    def may_report(self) -> bool:
        """Whether a pass that has ended may be reported as read.

        With deletes enabled, only after the number of rows was found plausible. That of a resumed
        pass is not known.
        """
        return not (self.shrunk or (self.resumed and self.run.settings.delete_vanished))

    def gap(self) -> str | None:
        """Return why the pass may be missing rows of the table, None if it is complete."""
        if self.resumed:
            # Its first pages are up to a day old. If the service counts by position, rows deleted
            # in the meantime have moved others to pages that were already read.
            return "the pass was resumed"
        if self.skipped:
            return f"{counted(self.skipped, 'customer')} skipped"
        return None

    def _has_shrunk(self) -> bool:
        """Compare the number of rows with that of the last complete pass, from the bookmark.

        A suspicious number is not stored: the next pass is compared with the same one.
        """
        settings = self.run.settings
        if settings.shard.count > 1:
            return False  # a subset of the rows, and never a version
        bookmark = self.tap_state.setdefault("bookmarks", {}).setdefault(self.name, {})
        before, most = bookmark.get("rows"), settings.max_vanished_percent
        self.shrunk = (
            settings.delete_vanished
            # State may have been edited by hand.
            and type(before) is int
            and (before - self.rows_read) * 100 > most * before
        )
        if self.shrunk:
            self.logger.warning(
                "%s: %s, %d in the last complete pass: more than max_vanished_percent (%d) "
                "are gone, so deletes are disabled for this run. A sudden drop usually means lost "
                "permissions. If the rows are really gone, run once with a higher "
                "max_vanished_percent (100 disables the check)",
                self.name,
                counted(self.rows_read, "row"),
                before,
                most,
            )
        else:
            bookmark["rows"] = self.rows_read
        return self.shrunk
