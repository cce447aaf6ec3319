"""The contestant `floor`: threads, requests and msgspec, without any of Singer's machinery.

It knows exactly what the emulator sends, writes the same records in the same order, and does
nothing else: no schema, no state, no configuration, no conformance, no report.
"""

from __future__ import annotations

import json
import sys
import time
from codecs import BOM_UTF8
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import requests
from msgspec import Raw, Struct
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Maximum number of refusals for one request.
TRIES = 20
BLOCK = 64 * 1024


class Profile(Struct):
    """A customer's company."""

    tenantId: str  # noqa: N815 - the API's names
    domain: str
    companyName: str  # noqa: N815
    attributes: Raw


class Customer(Struct, omit_defaults=True):
    """A customer; with `reseller_id` if requested by reseller."""

    id: str
    companyProfile: Profile  # noqa: N815
    relationshipToPartner: str  # noqa: N815
    attributes: Raw
    reseller_id: str = ""


class Relationship(Struct, omit_defaults=True):
    """One of the partners that serve a customer."""

    id: str
    name: str
    attributes: Raw
    relationshipType: str | None = None  # noqa: N815
    mpnId: str | None = None  # noqa: N815
    partnerId: str | None = None  # noqa: N815
    state: str | None = None
    location: str | None = None
    customer_id: str = ""


class ChildPage(Struct):
    """All records of one customer in another collection."""

    items: list[dict[str, Any]]


class Link(Struct):
    """Where the next page is."""

    uri: str
    headers: list[dict[str, str]]


class Links(Struct):
    """The links of a page; only `next` matters."""

    next: Link | None = None


class CustomerPage(Struct):
    """A page of customers."""

    items: list[Customer]
    links: Links


class RelationshipPage(Struct):
    """All relationships of one customer."""

    items: list[Relationship]


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
#: Customers, streams, and the responses for them.
Jobs: TypeAlias = "list[tuple[str, str, Future[bytes]]]"


class Floor:
    """One run."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Sign in."""
        self._base = f"{settings['api_url']}/v1"
        self._size = settings["page_size"]
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
        self._customers = msgspec.json.Decoder(CustomerPage)
        self._relationships = msgspec.json.Decoder(RelationshipPage)
        self._others = msgspec.json.Decoder(ChildPage)
        self._encode = msgspec.json.Encoder().encode
        self._block = bytearray()

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
        self._flush()
        self._pool.shutdown()

    def _everybody(self, children: list[str]) -> None:
        """Customers, each page followed by its children, while the next page is being read."""
        waiting: Jobs = []
        for page in self._pages():
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

    def _pages(self) -> Iterator[CustomerPage]:
        """Yield all customers, while the next page is being read."""
        query = {"size": self._size}
        ahead: Future[bytes] | None = self._pool.submit(self._get, "/customers", query)
        while ahead is not None:
            page = self._customers.decode(ahead.result())
            ahead = None
            if page.links.next is not None:
                ahead = self._pool.submit(self._follow, page.links.next)
            yield page

    def _partition(self, reseller_id: str) -> list[Customer]:
        condition = {"Field": "IndirectReseller", "Value": reseller_id, "Operator": "starts_with"}
        answer = self._get("/customers", {"size": self._size, "filter": json.dumps(condition)})
        page = self._customers.decode(answer)
        found = page.items
        while page.links.next is not None:
            page = self._customers.decode(self._follow(page.links.next))
            found += page.items
        return found

    def _follow(self, link: Link) -> bytes:
        return self._get(link.uri, headers={each["key"]: each["value"] for each in link.headers})

    def _get(
        self,
        path: str,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        for _ in range(TRIES):
            answer = self._session.get(self._base + path, params=query, headers=headers)
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                break
            # Each thread waits on its own, as in the simplest program.
            time.sleep(int(answer.headers["Retry-After"]))
        answer.raise_for_status()
        return answer.content.removeprefix(BOM_UTF8)

    def _write_children(self, jobs: Jobs) -> None:
        for customer_id, stream, answer in jobs:
            if stream == "customer_relationships":
                for relationship in self._relationships.decode(answer.result()).items:
                    relationship.customer_id = customer_id
                    relationship.relationshipType = relationship.relationshipType or "none"
                    self._write(stream, relationship)
            else:
                for row in self._others.decode(answer.result()).items:
                    row["customer_id"] = customer_id
                    self._write(stream, row)

    def _write(self, stream: str, record: Customer | Relationship | dict[str, Any]) -> None:
        self._block += self._encode(Line("RECORD", stream, record)) + b"\n"
        if len(self._block) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        sys.stdout.buffer.write(self._block)
        sys.stdout.buffer.flush()
        self._block.clear()


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Floor(given).run(sys.argv[2].split(","), given.get("reseller_ids", ()))
