"""Responses made by hand, for tests of what no server should send."""

from __future__ import annotations

from typing import Any

RESELLER = "9b1de2aa-7777-4888-9999-aaaabbbbcccc"


def customer(identifier: object, **more: object) -> dict[str, Any]:
    return {"id": identifier, "companyProfile": {"companyName": "Contoso"}, **more}


def page(*items: object, **more: object) -> dict[str, Any]:
    return {"totalCount": len(items), "items": [*items], **more}


def linked(uri: object, *headers: object, **more: object) -> dict[str, Any]:
    """A page with a link to the URI, with some headers."""
    link = {"uri": uri, "method": "GET", "headers": [*headers]}
    return page(customer("a"), links={"next": link}, **more)
