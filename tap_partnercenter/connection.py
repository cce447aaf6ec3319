"""The connection test, `--test`: does each stream answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_partnercenter.full_table import FullTable
from tap_partnercenter.refresh import RefreshStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_partnercenter.pages import Page
    from tap_partnercenter.stream import PartnerCenterStream
    from tap_partnercenter.tap import TapPartnerCenter


def try_streams(tap: TapPartnerCenter) -> None:
    """Read the first page of each selected stream, and say which of them answered.

    Nothing is written: a test is about answers, and records are personal data.

    Raises:
        PartnerCenterError: If one does not.
    """
    for root in tap.root_streams:
        for stream, outcome in _outcomes(root):
            tap.logger.info("%s: %s", stream.name, outcome)
    tap.logger.info("All streams answered.")


def _outcomes(root: PartnerCenterStream) -> Iterator[tuple[PartnerCenterStream, str]]:
    """Try a root stream, and each of its children for the first record."""
    children = root.children.streams if isinstance(root, FullTable) else []
    if not (root.selected or children) or isinstance(root, RefreshStream):
        return
    page = root.first_page()
    if root.selected:
        yield root, _outcome(root, page)
    for child in children:
        if page is None or not page.records:
            yield child, f"not tried, since there are no {root.name}."
        else:
            parent = root.post_process(page.records[0])
            yield child, _outcome(child, child.source_of(parent["id"]).read())


def _outcome(stream: PartnerCenterStream, page: Page | None) -> str:
    if page is not None and page.refusal is not None:
        return "answered, and refused the one customer that was tried."
    if page is None or not page.records:
        return "answered, and has no record."
    stream.post_process({**page.records[0], **page.context})
    return "answered."
