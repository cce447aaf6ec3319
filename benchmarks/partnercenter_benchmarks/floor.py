"""The contestant `floor`: threads, requests and msgspec, without any of Singer's machinery.

It knows exactly what the emulator sends, writes the same records in the same order, and does
nothing else: no schema, no state, no configuration, no conformance, no report.
"""

# ruff: noqa: N815 - the API's names

from __future__ import annotations

import json
import sys
from codecs import BOM_UTF8
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import requests
from msgspec import Raw, Struct
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


class Profile(Struct):
    """A customer's company."""

    tenantId: str
    domain: str
    companyName: str
    attributes: Raw


class Customer(Struct, omit_defaults=True):
    """A customer; with `reseller_id` if requested by reseller."""

    id: str
    companyProfile: Profile
    relationshipToPartner: str
    attributes: Raw
    reseller_id: str = ""


class Relationship(Struct, omit_defaults=True):
    """One of the partners that serve a customer."""

    id: str
    name: str
    attributes: Raw
    relationshipType: str | None = None
    mpnId: str | None = None
    partnerId: str | None = None
    state: str | None = None
    location: str | None = None
    customer_id: str = ""


class Page(Struct, Generic[T]):
    """A page of customers, or all records of one customer in another collection."""

    items: list[T]
    links: dict[str, Any] = {}


class Line(Struct):
    """A line of output, in the shape of a Singer message so that it can be counted."""

    type: str
    stream: str
    record: Customer | Relationship | dict[str, Any]


#: The last part of the path of each child stream.
PLACES = {
    "customer_relationships": "relationships",
    "subscriptions": "subscriptions",
    "orders": "orders",
}


class Floor:
    """One run."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Sign in."""
        self._base = f"{settings['api_url']}/v1"
        self._size = {"size": settings["page_size"]}
        workers = settings["max_concurrent_requests"]
        self._pool = ThreadPoolExecutor(workers)
        self._session = requests.Session()
        self._session.mount("http://", HTTPAdapter(pool_maxsize=workers))
        self._session.trust_env = False
        form = {name: settings[name] for name in ("client_id", "client_secret", "refresh_token")}
        form["grant_type"] = "refresh_token"
        form["scope"] = "https://api.partnercenter.microsoft.com/user_impersonation"
        url = f"{settings['auth_url']}/{settings['tenant_id']}/oauth2/v2.0/token"
        token = self._session.post(url, data=form).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._customers = msgspec.json.Decoder(Page[Customer])
        self._relationships = msgspec.json.Decoder(Page[Relationship])
        self._others = msgspec.json.Decoder(Page[dict[str, Any]])
        self._encode = msgspec.json.Encoder().encode
        self._stdout = BufferedWriter(FileIO(sys.stdout.fileno(), "wb", closefd=False), 64 * 1024)

    def run(self, streams: list[str], resellers: Iterable[str]) -> None:
        """Read and write."""
        partitions = []
        if "reseller_customers" in streams:
            partitions = [(each, self._pool.submit(self._partition, each)) for each in resellers]
        if "customers" in streams:
            self._everybody([stream for stream in streams if stream in PLACES])
        for reseller_id, customers in partitions:
            for customer in customers.result():
                customer.reseller_id = reseller_id
                self._write("reseller_customers", customer)
        self._stdout.flush()
        self._pool.shutdown()

    def _everybody(self, children: list[str]) -> None:
        """Customers, each page followed by its children, while the next page is being read."""
        ahead: Future[bytes] | None = self._pool.submit(self._get, "/customers", self._size)
        waiting: list[tuple[str, str, Future[bytes]]] = []
        while ahead is not None:
            page = self._customers.decode(ahead.result())
            ahead = None
            if link := page.links.get("next"):
                ahead = self._pool.submit(self._get, link["uri"], None, link["headers"])
            jobs = [
                (each.id, child, self._pool.submit(self._get, f"/customers/{each.id}/{where}"))
                for each in page.items
                for child, where in PLACES.items()
                if child in children
            ]
            self._write_children(waiting)
            for customer in page.items:
                self._write("customers", customer)
            waiting = jobs
        self._write_children(waiting)

    def _partition(self, reseller_id: str) -> list[Customer]:
        condition = {"Field": "IndirectReseller", "Value": reseller_id, "Operator": "starts_with"}
        query = self._size | {"filter": json.dumps(condition)}
        page = self._customers.decode(self._get("/customers", query))
        found = page.items
        while link := page.links.get("next"):
            page = self._customers.decode(self._get(link["uri"], None, link["headers"]))
            found += page.items
        return found

    def _get(
        self, path: str, query: dict[str, Any] | None = None, pairs: Iterable[dict[str, str]] = ()
    ) -> bytes:
        headers = {pair["key"]: pair["value"] for pair in pairs}
        response = self._session.get(self._base + path, params=query, headers=headers)
        response.raise_for_status()
        return response.content.removeprefix(BOM_UTF8)

    def _write_children(self, jobs: list[tuple[str, str, Future[bytes]]]) -> None:
        for customer_id, stream, response in jobs:
            if stream == "customer_relationships":
                for relationship in self._relationships.decode(response.result()).items:
                    relationship.customer_id = customer_id
                    relationship.relationshipType = relationship.relationshipType or "none"
                    self._write(stream, relationship)
            else:
                for row in self._others.decode(response.result()).items:
                    row["customer_id"] = customer_id
                    self._write(stream, row)

    def _write(self, stream: str, record: Customer | Relationship | dict[str, Any]) -> None:
        self._stdout.write(self._encode(Line("RECORD", stream, record)) + b"\n")


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1], "config.json").read_text(encoding="utf-8"))
    Floor(given).run(sys.argv[2].split(","), given.get("reseller_ids", ()))
