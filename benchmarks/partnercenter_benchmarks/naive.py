"""The contestant `naive`: a tap on the plain SDK, written like the one in its tutorial.

All defaults of the SDK are unchanged. It reads the same data as tap-partnercenter under the same
names, with the same schemas, so that the records are the same.
"""

from __future__ import annotations

import json
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import OAuthAuthenticator
from singer_sdk.pagination import BaseAPIPaginator
from singer_sdk.streams.rest import HTTPRequest

from tap_partnercenter.records import SCHEMAS

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.streams.rest import PageContext


class SignIn(OAuthAuthenticator):
    """Redeems the refresh token."""

    @property
    @override
    def oauth_request_body(self) -> dict[str, Any]:
        return {
            "grant_type": "refresh_token",
            "refresh_token": self.config["refresh_token"],
            "client_id": self.config["client_id"],
            "client_secret": self.config["client_secret"],
            "scope": "https://api.partnercenter.microsoft.com/user_impersonation",
        }


class Link(NamedTuple):
    """Where the next page is."""

    url: str
    headers: dict[str, str]


class LinkPaginator(BaseAPIPaginator["Link | None"]):
    """Follows `links.next`."""

    @override
    def get_next(self, response: requests.Response) -> Link | None:
        following = response.json().get("links", {}).get("next")
        if following is None:
            return None
        headers = {pair["key"]: pair["value"] for pair in following["headers"]}
        return Link(following["uri"], headers)


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
    def get_url_params(
        self, context: Context | None, next_page_token: Link | None
    ) -> dict[str, Any]:
        return {}

    @override
    def get_new_paginator(self) -> LinkPaginator:
        return LinkPaginator(None)

    @override
    def get_http_request(self, *, page: PageContext[Link | None]) -> HTTPRequest:
        link = page.next_page_token
        if link is not None:
            return HTTPRequest(
                url=self.url_base + link.url,
                headers={**self.http_headers, **link.headers},
            )
        return HTTPRequest(
            url=self.get_url(page.stream_context),
            params=self.get_url_params(page.stream_context, None),
            headers=self.http_headers,
        )

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
    def get_url_params(
        self, context: Context | None, next_page_token: Link | None
    ) -> dict[str, Any]:
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
    def get_url_params(
        self, context: Context | None, next_page_token: Link | None
    ) -> dict[str, Any]:
        condition = {
            "Field": "IndirectReseller",
            "Value": (context or {})["reseller_id"],
            "Operator": "starts_with",
        }
        return {"size": self.config["page_size"], "filter": json.dumps(condition)}


class NaiveTap(Tap):
    """The tap."""

    name = "naive"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("tenant_id", th.StringType, required=True),
        th.Property("client_id", th.StringType, required=True),
        th.Property("client_secret", th.StringType, required=True, secret=True),
        th.Property("refresh_token", th.StringType, required=True, secret=True),
        th.Property("api_url", th.StringType, required=True),
        th.Property("auth_url", th.StringType, required=True),
        th.Property("reseller_ids", th.ArrayType(th.StringType), default=[]),
        th.Property("page_size", th.IntegerType, default=500),
    ).to_dict()

    @override
    def discover_streams(self) -> Sequence[PlainStream]:
        return [Customers(self), CustomerRelationships(self), ResellerCustomers(self)]


if __name__ == "__main__":
    NaiveTap.cli()
