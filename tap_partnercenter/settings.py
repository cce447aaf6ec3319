"""The settings: what they mean, what they accept, and what is wrong with the ones given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError

from tap_partnercenter.clouds import CLOUDS, Cloud
from tap_partnercenter.names import meant
from tap_partnercenter.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TAP_VERSION = version("tap-partnercenter")
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# The service returns at most 500 customers a page ("Customer resources").
LARGEST_PAGE = 500

#: Seconds of patience of a connection test: somebody waits for it.
TEST_PATIENCE = 15

CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "tenant_id",
        th.StringType,
        required=True,
        title="Tenant ID",
        description="Microsoft Entra tenant of the partner: its GUID or a verified domain.",
    ),
    th.Property(
        "client_id",
        th.StringType,
        required=True,
        title="Client ID",
        description="Application (client) id of the app registration.",
    ),
    th.Property(
        "client_secret",
        th.StringType,
        required=True,
        secret=True,
        title="Client secret",
        description="Secret of the app registration.",
    ),
    th.Property(
        "refresh_token",
        th.StringType,
        secret=True,
        title="Refresh token",
        description=(
            "Refresh token of a partner user who consented with MFA (App+User). Without it the "
            "tap runs app-only, which Partner Center allows for the stream customers alone."
        ),
    ),
    th.Property(
        "token_cache_path",
        th.StringType,
        title="Token cache path",
        description=(
            "File in which the tap keeps the newest refresh token, since Microsoft issues a new "
            "one at each use. Only its owner may read it; a symbolic link is followed. Processes "
            "with the same settings may share it: they sign in one after the other, by way of an "
            "empty .lock file beside it. Without it the tap forgets the new ones."
        ),
    ),
    th.Property(
        "cloud",
        th.StringType,
        default="global",
        allowed_values=list(CLOUDS),
        title="Cloud",
        description="Microsoft cloud of the partner tenant: sets the three addresses.",
    ),
    th.Property(
        "api_url",
        th.StringType,
        title="API URL",
        description=(
            "Origin of the API, without /v1, in place of the cloud's: for a proxy or the emulator. "
            "http only on this machine."
        ),
    ),
    th.Property(
        "auth_url",
        th.StringType,
        title="Authority URL",
        description=(
            "Origin of the authority in place of the cloud's. Tokens come from "
            "{auth_url}/{tenant_id}/oauth2/v2.0/token."
        ),
    ),
    th.Property(
        "reseller_ids",
        th.ArrayType(th.StringType),
        title="Reseller IDs",
        description=(
            "Tenant ids (GUIDs) of the indirect resellers to read in reseller_customers, in this "
            "order. Missing or empty: all resellers that the API names."
        ),
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=LARGEST_PAGE),
        default=LARGEST_PAGE,
        title="Page size",
        description="Customers to ask for in one page.",
    ),
    th.Property(
        "max_concurrent_requests",
        th.IntegerType(minimum=1, maximum=64),
        default=8,
        title="Concurrent requests",
        description="Requests under way at once. The messages are the same for every value.",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1, maximum=1_000_000),
        title="Requests per minute",
        description="Ceiling on the request rate, beside what the tap learns from the service.",
    ),
    th.Property(
        "max_skipped_customers",
        th.IntegerType(minimum=0),
        default=100,
        title="Skipped customers",
        description=(
            "Customers whose records the service may refuse before the run fails, for each stream. "
            "0: the first refusal fails it."
        ),
    ),
    th.Property(
        "request_timeout",
        th.IntegerType(minimum=1, maximum=3600),
        default=60,
        title="Request timeout",
        description="Seconds that an answer may take, from the request to its last byte.",
    ),
    th.Property(
        "max_retry_seconds",
        th.IntegerType(minimum=0, maximum=604_800),
        default=900,
        title="Retry time",
        description="Seconds of patience with one request, all its retries and waits together.",
    ),
    th.Property(
        "audit_resource_values",
        th.BooleanType,
        default=False,
        title="Resource values of audit records",
        description=(
            "Emit resourceOldValue and resourceNewValue of audit_records, without credentials. "
            "They hold personal data."
        ),
    ),
    th.Property(
        "shard_count",
        th.IntegerType(minimum=1),
        default=1,
        title="Shards",
        description=(
            "Processes that share the work: each takes the customers, with their children, "
            "and the resellers whose id falls to it."
        ),
    ),
    th.Property(
        "shard_index",
        th.IntegerType(minimum=0),
        default=0,
        title="Shard",
        description="Which of the shard_count shards this process is, from 0.",
    ),
    th.Property(
        "user_agent",
        th.StringType,
        default=f"tap-partnercenter/{TAP_VERSION}",
        title="User agent",
        description="User-Agent header of every request.",
    ),
    th.Property(
        "emit_activate_version_messages",
        th.BooleanType,
        default=False,
        title="Delete vanished rows",
        description=(
            "Send ACTIVATE_VERSION at the end of each complete stream, so that the target removes "
            "(or marks) rows that the API no longer has."
        ),
    ),
    th.Property(
        "max_vanished_percent",
        th.IntegerType(minimum=0, maximum=100),
        default=10,
        title="Vanished rows",
        description=(
            "Share of a stream's rows that may vanish from one complete pass to the next. Beyond "
            "it no ACTIVATE_VERSION is sent, and a warning says so. 100: no guard."
        ),
    ),
).to_dict()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run, checked and complete. Times are in seconds."""

    tenant_id: str
    client_id: str
    client_secret: str
    refresh_token: str | None
    token_cache_path: str | None
    cloud: Cloud
    api_url: str
    auth_url: str
    reseller_ids: tuple[str, ...]
    page_size: int
    max_concurrent_requests: int
    max_requests_per_minute: int | None
    max_skipped_customers: int
    request_timeout: int
    max_retry_seconds: int
    audit_resource_values: bool
    shard: Shard
    user_agent: str
    delete_vanished: bool
    max_vanished_percent: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read a configuration in which :func:`problems` found nothing."""
        given = _given(config)
        cloud = CLOUDS[given["cloud"]]
        return cls(
            tenant_id=given["tenant_id"],
            client_id=given["client_id"],
            client_secret=given["client_secret"],
            refresh_token=given.get("refresh_token"),
            token_cache_path=given.get("token_cache_path"),
            cloud=cloud,
            api_url=given.get("api_url", cloud.api_url).rstrip("/"),
            auth_url=given.get("auth_url", cloud.auth_url).rstrip("/"),
            # The API compares ids without regard to case; the partition key must not vary.
            reseller_ids=tuple(
                dict.fromkeys(reseller.lower() for reseller in given.get("reseller_ids", ())),
            ),
            page_size=given["page_size"],
            max_concurrent_requests=given["max_concurrent_requests"],
            max_requests_per_minute=given.get("max_requests_per_minute"),
            max_skipped_customers=given["max_skipped_customers"],
            request_timeout=given["request_timeout"],
            max_retry_seconds=given["max_retry_seconds"],
            audit_resource_values=given["audit_resource_values"],
            shard=Shard(given["shard_count"], given["shard_index"]),
            user_agent=given["user_agent"],
            delete_vanished=given["emit_activate_version_messages"],
            max_vanished_percent=given["max_vanished_percent"],
        )

    def for_test(self) -> Settings:
        """Return the settings of a connection test."""
        return replace(
            self,
            request_timeout=min(self.request_timeout, TEST_PATIENCE),
            max_retry_seconds=min(self.max_retry_seconds, TEST_PATIENCE),
        )

    @property
    def app_only(self) -> bool:
        """Whether the tap signs in as an application alone, without a user."""
        return self.refresh_token is None


class Unusable(ConfigValidationError):
    """What the tap was given is not usable. `errors` holds one line for each reason."""

    def __init__(self, errors: list[str]) -> None:
        """Keep the lines."""
        super().__init__("What the tap was given is not usable", errors=errors)


def problems(config: Mapping[str, Any]) -> list[str]:
    """List everything that is wrong with a configuration, one line for each setting.

    No line repeats the value of a secret.
    """
    found = {}
    for name, schema in CONFIG_JSONSCHEMA["properties"].items():
        value = config.get(name)
        # What the SDK accepts as not set: no choice is null, and only text may be empty.
        free = "enum" not in schema
        if (
            name not in config
            or (value is None and free)
            or (value == "" and free and "string" in schema["type"])
        ):
            if name in CONFIG_JSONSCHEMA["required"]:
                found[name] = f"{name} is missing. {schema['description']}"
        elif reason := _mismatch(name, value, schema):
            found[name] = f"{name} {reason}. {schema['description']}"
    together = {"shard_count", "shard_index", "emit_activate_version_messages"}
    contradictions = () if together & found.keys() else _contradictions(_given(config))
    return [*found.values(), *contradictions]


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the defaults of those that are not set."""
    properties = CONFIG_JSONSCHEMA["properties"]
    defaults = {name: field["default"] for name, field in properties.items() if "default" in field}
    # Null and empty mean the same as missing: they come from templates and blank variables.
    return defaults | {name: value for name, value in config.items() if value not in (None, "")}


def _contradictions(given: Mapping[str, Any]) -> Iterator[str]:
    """Name the settings that do not go together."""
    count, index = given["shard_count"], given["shard_index"]
    if index >= count:
        yield f"shard_index must be less than shard_count, which is {count}, not {index}."
    if count > 1 and given["emit_activate_version_messages"]:
        yield (
            "emit_activate_version_messages must be false where shard_count is more than 1: each "
            "shard would have the target drop the rows of the others. docs/warehouse.md shows how "
            "to see the rows of the latest load alone."
        )


def unknown_settings(config: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Name the settings that the tap does not have, each with the one that may be meant."""
    return (name + meant(name, known) for name in config if name not in known)


def sdk_problem(error: str) -> str | None:
    """Tell what the SDK found without the value, None where :func:`problems` tells it.

    A value can be a secret, such as the salt of a hash in `stream_map_config`.
    """
    found = re.fullmatch(r"(.*) in config\['(\w+)'\](.*)", error, re.DOTALL)
    if found is None:
        return None if error.endswith("is a required property") else error
    what, name, within = found.groups()
    if name in {*CONFIG_JSONSCHEMA["properties"], "stream_maps"}:
        return None
    _, wrong, reason = what.rpartition(" is not ")
    place = ".".join([name, *re.findall(r"\w+", within)])
    return f"{place}{wrong}{reason}" if wrong else f"{place} is not valid"


def _mismatch(name: str, value: object, schema: Mapping[str, Any]) -> str | None:
    """Say why a value does not fit its setting, or return None."""
    kinds = schema["type"]
    if "integer" in kinds:
        return _integer_mismatch(value, schema)
    if "boolean" in kinds:
        return None if isinstance(value, bool) else "must be true or false"
    if "array" in kinds:
        return _reseller_ids_mismatch(value)
    if not isinstance(value, str):
        return "must be a string"
    if allowed := schema.get("enum"):
        return None if value in allowed else f"must be one of {', '.join(allowed)}"
    return _string_mismatch(name, value)


def _integer_mismatch(value: object, schema: Mapping[str, Any]) -> str | None:
    smallest, largest = schema["minimum"], schema.get("maximum")
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= smallest
        and (largest is None or value <= largest)
    ):
        return None
    span = f"of {smallest} or more" if largest is None else f"from {smallest} to {largest}"
    # A number is repeated; text could be a secret that was put in the wrong place.
    return f"must be a whole number {span}" + (f", not {value}" if type(value) is int else "")


def _reseller_ids_mismatch(value: object) -> str | None:
    if not isinstance(value, list):
        return 'must be a list of GUIDs, such as ["9b1de2aa-7777-4888-9999-aaaabbbbcccc"]'
    # The filter matches beginnings: a shortened id would return other resellers' customers.
    wrong = [item for item in value if not (isinstance(item, str) and GUID.fullmatch(item))]
    return f"must hold GUIDs only, which {len(wrong)} of {len(value)} are not" if wrong else None


def _string_mismatch(name: str, value: str) -> str | None:
    if name == "user_agent" and not (
        value.isascii() and value.isprintable() and value == value.strip()
    ):
        return "must be printable ASCII text that begins and ends with no blank"
    # A path may hold what cannot be shown, but for the character that ends it.
    if "\0" in value if name == "token_cache_path" else not value.isprintable():
        return "holds a character that cannot be shown, such as a line break"
    if name == "tenant_id" and not (GUID.fullmatch(value) or DOMAIN.fullmatch(value)):
        return "must be a GUID or a domain"
    if name in {"api_url", "auth_url"}:
        return _origin_mismatch(value)
    return None


def _origin_mismatch(value: str) -> str | None:
    """Say why a value is no origin to which credentials may be sent."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - reading it is what checks it
        if parts.scheme and parts.hostname:
            parts.hostname.encode("idna")
            requests.Request("GET", value).prepare()
    except ValueError:
        return "is no URL"
    if parts.username or parts.password:
        return "must not contain a user name or password"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "must be an origin without a path, such as https://example.com"
    if parts.scheme == "https" and parts.hostname:
        return None
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return None
    return "must begin with https:// (http:// only for localhost)"
