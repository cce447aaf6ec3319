"""The contestants `naive` and `stock`: taps on the plain SDK.

The naive one is written like the one in the SDK's tutorial, with all defaults unchanged. The other
adds what the SDK's documentation recommends for speed. Both read the same data as tap-partnercenter
under the same names, with the same schemas, so that the records are the same.

    python -m partnercenter_benchmarks.stock NAME [ARGUMENT ...]
"""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.pagination import BaseAPIPaginator
from typing_extensions import override

from tap_partnercenter.records import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.streams.rest import HTTPRequest, PageContext

    #: Where the next page is: `uri`, and the pairs of `headers`.
    Link: TypeAlias = dict[str, Any]


ADDRESSES = ("api_url", "auth_url", "tenant_id")
CREDENTIALS = ("client_id", "client_secret", "refresh_token")


class SignIn(OAuthAuthenticator):
    """Redeems the refresh token."""

    @property
    @override
    def oauth_request_body(self) -> dict[str, Any]:
        return {
            "grant_type": "refresh_token",
            "scope": "https://api.partnercenter.microsoft.com/user_impersonation",
            **{name: self.config[name] for name in CREDENTIALS},
        }


class LinkPaginator(BaseAPIPaginator["Link | None"]):
    """Follows `links.next`."""

    @override
    def get_next(self, response: requests.Response) -> Link | None:
        following: Link | None = response.json().get("links", {}).get("next")
        return following


class PlainStream(RESTStream["Link | None"]):
    """The base class of all streams."""

    records_jsonpath = "$.items[*]"
    schema = SCHEMAS

    @property
    @override
    def url_base(self) -> str:
        return f"{self.config['api_url']}/v1"

    @cached_property
    def authenticator(self) -> SignIn:
        """The sign-in, cached as the documentation recommends."""
        endpoint = f"{self.config['auth_url']}/{self.config['tenant_id']}/oauth2/v2.0/token"
        return SignIn(self, auth_endpoint=endpoint)

    @override
    def get_new_paginator(self) -> LinkPaginator:
        return LinkPaginator(None)

    @override
    def get_http_request(self, *, page: PageContext[Link | None]) -> HTTPRequest:
        request = super().get_http_request(page=page)
        if link := page.next_page_token:
            request.url, request.params = self.url_base + link["uri"], {}
            request.headers |= {pair["key"]: pair["value"] for pair in link["headers"]}
        return request

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record:
        # Not in the schema; the SDK would warn of one and write the other.
        row.pop("links", None)
        if profile := row.get("companyProfile"):
            profile.pop("links", None)
        # The SDK itself only adds the part that is in the state.
        return {**row, **(context or {})}


class Customers(PlainStream):
    """All customers."""

    name = "customers"
    path = "/customers"
    primary_keys = ("id",)

    @override
    def get_url_params(self, context: Context | None, _: Link | None) -> dict[str, Any]:
        return {"size": self.config["page_size"]}

    @override
    def get_child_context(self, record: Record, context: Context | None) -> Context:
        return {"customer_id": record["id"]}


class CustomerRelationships(PlainStream):
    """A child of the customers, with a context for each."""

    name = "customer_relationships"
    path = "/customers/{customer_id}/relationships"
    primary_keys = ("customer_id", "id", "relationshipType")
    parent_stream_type = Customers

    @override
    def post_process(self, row: Record, context: Context | None = None) -> Record:
        # A key must not be missing, but the service does not always send it.
        row.setdefault("relationshipType", "none")
        return {**row, **(context or {})}


class ResellerCustomers(PlainStream):
    """A partition for each reseller."""

    name = "reseller_customers"
    path = "/customers"
    primary_keys = ("reseller_id", "id")

    @property
    @override
    def partitions(self) -> list[dict[str, str]]:
        return [{"reseller_id": each} for each in self.config["reseller_ids"]]

    @override
    def get_url_params(self, context: Context | None, _: Link | None) -> dict[str, Any]:
        condition = {
            "Field": "IndirectReseller",
            "Value": (context or {})["reseller_id"],
            "Operator": "starts_with",
        }
        return {"size": self.config["page_size"], "filter": json.dumps(condition)}


class NaiveTap(Tap):
    """The tap as in the tutorial."""

    name = "naive"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        *(th.Property(name, th.StringType, required=True) for name in (*ADDRESSES, *CREDENTIALS)),
        th.Property("reseller_ids", th.ArrayType(th.StringType), default=[]),
        th.Property("page_size", th.IntegerType, default=500),
    ).to_dict()

    @override
    def discover_streams(self) -> Sequence[PlainStream]:
        return [Customers(self), CustomerRelationships(self), ResellerCustomers(self)]


class StockTap(NaiveTap):
    """The tap with what the documentation recommends.

    - Its page on parents and children: `state_partitioning_keys`, so that the state does not keep a
      bookmark for each of thousands of parents.
    - Its page on performance: `MsgSpecWriter`. Its other recommendation, BATCH messages, is left
      out because it requires a target that reads them.
    """

    name = "stock"
    message_writer_class = MsgSpecWriter

    @override
    def discover_streams(self) -> Sequence[PlainStream]:
        streams = super().discover_streams()
        for stream in streams:
            stream.state_partitioning_keys = ()
        return streams


if __name__ == "__main__":
    taps = {"naive": NaiveTap, "stock": StockTap}
    taps[sys.argv.pop(1)].cli()
