"""Tables with one partition per indirect reseller: which partitions exist, and their filter."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.outcomes import Place
from tap_partnercenter.validation import GUID
from tap_partnercenter.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.pages import Page
    from tap_partnercenter.sdk import PlainTap

#: Number of unknown reseller_ids to name in warnings.
_WARNED_OF = 5


class ResellerTable(FullTable):
    """A table of resellers, which reports any reseller_ids that the service does not return."""

    place = Place.RESELLERS
    next_place = Place.RESELLERS_NEXT

    def __init__(self, tap: PlainTap) -> None:
        super().__init__(tap)
        #: The ids that the service returned in this run.
        self._named: set[str] = set()

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        record = super().post_process(row, context)
        self._named.add(record["id"].lower())
        return record

    @override
    def end_pass(self, version: int) -> None:
        settings = self.run.settings
        wanted = filter(settings.shard.owns, settings.reseller_ids)
        missing = [reseller_id for reseller_id in wanted if reseller_id not in self._named]
        # The first pages of a resumed pass were read by an earlier run.
        for reseller_id in [] if self.resumed else missing[:_WARNED_OF]:
            self.logger.warning(
                "%s: reseller_ids lists %s%s, which the service did not return",
                self.name,
                reseller_id,
                did_you_mean(reseller_id, self._named),
            )
        super().end_pass(version)


class PerReseller(FullTable):
    """Customers, filtered by the indirect reseller that serves them: one partition for each."""

    #: The stream that lists the resellers.
    resellers: type[ResellerTable]

    @classmethod
    @override
    def cost(cls) -> str:
        return f"{super().cost()}, at least 1 for each reseller"

    @property
    @override
    def partitions(self) -> list[dict[str, str]]:
        return [{"reseller_id": reseller_id} for reseller_id in self._reseller_ids]

    @cached_property
    def _reseller_ids(self) -> tuple[str, ...]:
        """The configured ids, or those of all resellers of the API, limited to this shard."""
        settings = self.run.settings
        ids = tuple(filter(settings.shard.owns, settings.reseller_ids))
        if not settings.reseller_ids:
            resellers = self.sibling(self.resellers).request_records(None)
            spellings: dict[str, str] = {}
            for reseller in resellers:
                reseller_id = str(reseller.get("id"))
                spellings.setdefault(reseller_id.lower(), reseller_id)
            ids = tuple(spellings.values())
        if not all(GUID.fullmatch(reseller_id) for reseller_id in ids):
            # The filter matches prefixes: a partial id would match other resellers.
            message = (
                f"{self.name}: the service returned a reseller whose id is not a GUID. Set "
                "reseller_ids."
            )
            raise PartnerCenterError(message)
        if not ids:
            self.logger.info("%s: there are no indirect resellers to read", self.name)
        return ids

    @override
    def prepare(self) -> None:
        # Listing the partitions is a request of its own, which reports its own failure.
        if self.run.settings.reseller_ids and self.partitions:
            super().prepare()

    @override
    def first_page(self) -> Page | None:
        return self.pages(self.partitions[0]).read() if self.partitions else None

    @override
    def gap(self) -> str | None:
        # There may be rows of other resellers, which were not requested or not listed.
        if self.run.settings.reseller_ids or not self._reseller_ids:
            return "not all resellers were read"
        return super().gap()

    @override
    def get_records(self, context: Context | None) -> Iterator[dict[str, Any]]:
        # Without partitions the SDK reads once without a filter: here that means all customers.
        return super().get_records(context) if context else iter(())

    @override
    def get_url_params(self, context: Context | None, next_page_token: object) -> dict[str, Any]:
        # Compact, because a space can be encoded in two ways.
        field = {
            "Field": "IndirectReseller",
            "Value": (context or {})["reseller_id"],
            "Operator": "starts_with",
        }
        query = super().get_url_params(context, next_page_token)
        return {**query, "filter": json.dumps(field, separators=(",", ":"))}
