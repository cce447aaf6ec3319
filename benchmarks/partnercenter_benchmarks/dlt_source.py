"""The contestant `dlt`: its REST source, extracting to files as in its documentation.

Runs in an environment of its own with dlt and nothing of this project, so it is started by path.
Extraction only: no normalizing, no loading. The records stay in the pipeline's folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials
from dlt.sources.helpers.rest_client.paginators import BaseNextUrlPaginator, SinglePagePaginator
from dlt.sources.rest_api import rest_api_resources

if TYPE_CHECKING:
    from requests import Request, Response


class LinkPaginator(BaseNextUrlPaginator):  # type: ignore[misc,unused-ignore]
    """Follows `links.next` with the headers that it names."""

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, str] = {}

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:  # noqa: ARG002
        """Look for the next page."""
        following = response.json().get("links", {}).get("next")
        self._next_reference = f"/v1{following['uri']}" if following else None
        if following:
            self._headers = {pair["key"]: pair["value"] for pair in following["headers"]}

    def update_request(self, request: Request) -> None:
        """Request the next page."""
        super().update_request(request)
        request.params = {}
        request.headers = {**(request.headers or {}), **self._headers}


def resources(settings: dict[str, Any], streams: list[str]) -> list[Any]:
    """Return the selected streams as resources of a pipeline."""
    size = {"size": settings["page_size"]}
    condition = (
        '{{"Field":"IndirectReseller","Value":"{resources.resellers.id}","Operator":"starts_with"}}'
    )
    known: dict[str, dict[str, Any]] = {
        "customers": {"path": "customers", "params": size},
        "customer_relationships": {
            "path": "customers/{resources.customers.id}/relationships",
            "paginator": SinglePagePaginator(),
        },
        "reseller_customers": {"path": "customers", "params": size | {"filter": condition}},
    }
    child = {"parallelized": True, "include_from_parent": ["id"]}
    signed_in = OAuth2ClientCredentials(
        access_token_url=f"{settings['auth_url']}/{settings['tenant_id']}/oauth2/v2.0/token",
        client_id=settings["client_id"],
        client_secret=settings["client_secret"],
        access_token_request_data={
            "grant_type": "refresh_token",
            "refresh_token": settings["refresh_token"],
            "scope": "https://api.partnercenter.microsoft.com/user_impersonation",
        },
    )
    chosen: list[Any] = [
        {"name": stream, "endpoint": known[stream], **({} if stream == "customers" else child)}
        for stream in streams
    ]
    if "reseller_customers" in streams:
        partitions = [{"id": each} for each in settings["reseller_ids"]]
        chosen.append(dlt.resource([partitions], name="resellers", selected=False))
    found: list[Any] = rest_api_resources(
        {
            "client": {
                "base_url": f"{settings['api_url']}/v1/",
                "auth": signed_in,
                "paginator": LinkPaginator(),
            },
            "resource_defaults": {"endpoint": {"data_selector": "items"}},
            "resources": chosen,
        }
    )
    return found


def main() -> None:
    """Extract the streams of the second argument into the folder of the first."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    workers = settings["max_concurrent_requests"]
    os.environ |= {
        "EXTRACT__WORKERS": str(workers),
        "EXTRACT__MAX_PARALLEL_ITEMS": str(2 * workers),
        # No other contestant compresses its output.
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    pipeline = dlt.pipeline(
        "benchmark", pipelines_dir=str(folder), destination="filesystem", dataset_name="benchmark"
    )
    pipeline.extract(resources(settings, sys.argv[2].split(",")))


if __name__ == "__main__":
    main()
