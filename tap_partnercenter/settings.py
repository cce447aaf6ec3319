"""The settings: what they mean, which values they accept, and what is wrong with given ones."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

from tap_partnercenter.clouds import CLOUDS, Cloud
from tap_partnercenter.credentials import PROPERTIES, missing_credentials, text
from tap_partnercenter.shard import Shard
from tap_partnercenter.validation import violations
from tap_partnercenter.wording import did_you_mean, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TAP_VERSION = version("tap-partnercenter")

# The service returns at most 500 customers a page ("Customer resources").
MAX_PAGE_SIZE = 500

#: Maximum time-out in a connection test, in seconds: somebody is waiting.
MAX_TEST_SECONDS = 15


CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    *PROPERTIES,
    th.Property(
        "cloud",
        th.StringType,
        default="global",
        allowed_values=list(CLOUDS),
        title="Cloud",
        description=(
            "Microsoft cloud of the partner tenant; determines the API, the authority and the "
            "token audience."
        ),
    ),
    th.Property(
        "api_url",
        text("origin"),
        title="API URL",
        description=(
            "Origin of the API, without /v1, instead of the cloud's: for a proxy or the emulator. "
            "http is allowed for localhost only."
        ),
    ),
    th.Property(
        "auth_url",
        text("origin"),
        title="Authority URL",
        description=(
            "Origin of the authority instead of the cloud's. Tokens are requested from "
            "{auth_url}/{tenant_id}/oauth2/v2.0/token."
        ),
    ),
    th.Property(
        "reseller_ids",
        th.CustomType(
            {
                "type": ["array"],
                "items": {"type": "string", "format": "guid", "expected": "a GUID"},
                "expected": 'a list of GUIDs, such as ["9b1de2aa-7777-4888-9999-aaaabbbbcccc"]',
            },
        ),
        title="Reseller IDs",
        description=(
            "Tenant ids (GUIDs) of the indirect resellers to read in reseller_customers, in this "
            "order. If empty, all resellers that the API lists."
        ),
    ),
    th.Property(
        "page_size",
        th.IntegerType(minimum=1, maximum=MAX_PAGE_SIZE),
        default=MAX_PAGE_SIZE,
        title="Page size",
        description="Largest number of records to request per page.",
    ),
    th.Property(
        "max_concurrent_requests",
        th.IntegerType(minimum=1, maximum=64),
        default=8,
        title="Concurrent requests",
        description="Requests in flight at once. The output is the same for every value.",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1, maximum=1_000_000),
        title="Requests per minute",
        description=(
            "Upper limit on the request rate, in addition to the quota that the tap learns from "
            "the service."
        ),
    ),
    th.Property(
        "max_skipped_customers",
        th.IntegerType(minimum=0),
        default=100,
        title="Skipped customers",
        description=(
            "Number of customers, for each stream, whose records the service may refuse before the "
            "run fails. 0: the first refusal fails it."
        ),
    ),
    th.Property(
        "request_timeout",
        th.IntegerType(minimum=1, maximum=3600),
        default=60,
        title="Request timeout",
        description="Seconds that a response may take, from the request to the last byte.",
    ),
    th.Property(
        "max_retry_seconds",
        th.IntegerType(minimum=0, maximum=604_800),
        default=900,
        title="Retry time",
        description=(
            "Seconds after which the tap gives up on a request, including retries and waits. A "
            "throttled request waits longer if the service accepts others in the meantime."
        ),
    ),
    th.Property(
        "audit_resource_values",
        th.BooleanType,
        default=False,
        title="Resource values of audit records",
        description=(
            "Emit resourceOldValue and resourceNewValue of audit_records, without credentials. "
            "They contain personal data."
        ),
    ),
    th.Property(
        "full_refresh_days",
        th.IntegerType(minimum=1, maximum=90),
        default=1,
        title="Days to a full refresh",
        description=(
            "Days within which the child streams of each customer are read at least once: a run "
            "reads the customers that are due, and those named by audit records. 1: every run "
            "reads all."
        ),
    ),
    th.Property(
        "shard_count",
        th.IntegerType(minimum=1),
        default=1,
        title="Shards",
        description=(
            "Number of processes that share the work: each reads the customers, with their "
            "children, and the resellers whose id hashes to its shard."
        ),
    ),
    th.Property(
        "shard_index",
        th.IntegerType(minimum=0),
        default=0,
        title="Shard",
        description="Which of the shard_count shards this process is, starting at 0.",
    ),
    th.Property(
        "user_agent",
        text("header"),
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
            "(or marks) rows that the API no longer returns."
        ),
    ),
    th.Property(
        "max_vanished_percent",
        th.IntegerType(minimum=0, maximum=100),
        default=10,
        title="Vanished rows",
        description=(
            "Percentage of a stream's rows that may vanish from one complete pass to the next. "
            "Above it, no ACTIVATE_VERSION is sent, and a warning says so. 100 disables the check."
        ),
    ),
).to_dict()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one run, validated and complete. Times are in seconds."""

    tenant_id: str
    client_id: str
    client_secret: str | None
    client_certificate_path: str | None
    client_certificate_password: str | None
    refresh_token: str | None
    token_cache_path: str | None
    token_cache_key: str | None
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
    retry_limit: str
    audit_resource_values: bool
    full_refresh_days: int
    shard: Shard
    user_agent: str
    delete_vanished: bool
    max_vanished_percent: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read a configuration in which :func:`problems` found nothing."""
        given = _given(config)
        cloud = CLOUDS[given["cloud"]]
        named: dict[str, Any] = {field.name: given.get(field.name) for field in fields(cls)}
        named |= {
            "cloud": cloud,
            "api_url": given.get("api_url", cloud.api_url).rstrip("/"),
            "auth_url": given.get("auth_url", cloud.auth_url).rstrip("/"),
            # The API compares ids case-insensitively; the partition key must not vary.
            "reseller_ids": tuple(dict.fromkeys(map(str.lower, given.get("reseller_ids", ())))),
            "shard": Shard(given["shard_count"], given["shard_index"]),
            "retry_limit": "max_retry_seconds",
            "delete_vanished": given["emit_activate_version_messages"],
        }
        return cls(**named)

    def for_test(self) -> Settings:
        """Return the settings of a connection test."""
        impatient = self.max_retry_seconds > MAX_TEST_SECONDS
        return replace(
            self,
            request_timeout=min(self.request_timeout, MAX_TEST_SECONDS),
            max_retry_seconds=min(self.max_retry_seconds, MAX_TEST_SECONDS),
            retry_limit="the limit of --test" if impatient else self.retry_limit,
        )


def problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """List everything that is wrong with a configuration, one line for each setting.

    No line repeats the value of a secret.

    Args:
        config: As given; null and empty text mean that a setting is missing.
        schema: Of the settings of the tap and the SDK.
    """
    required = {*schema["required"], *missing_credentials(config)}
    found = {name: f"{name} is missing" for name in required if config.get(name) in (None, "")}
    # The SDK's own schema of the maps is malformed: `stream_maps.shape_problems` checks them.
    rest = {k: v for k, v in config.items() if k not in {*found, "stream_maps"}}
    for violation in violations(rest, schema):
        if violation.path:
            found.setdefault(str(violation.path[0]), violation.line("."))
    properties = schema["properties"]
    lines = [
        f"{found[name]}. {field.get('description', '')}".rstrip()
        for name, field in properties.items()
        if name in found
    ]
    together = {"shard_count", "shard_index", "emit_activate_version_messages"}
    return lines if together & found.keys() else [*lines, *_contradictions(_given(config))]


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the defaults of those that are not set."""
    properties = CONFIG_JSONSCHEMA["properties"]
    defaults = {name: field["default"] for name, field in properties.items() if "default" in field}
    return defaults | {name: value for name, value in config.items() if value not in (None, "")}


def _contradictions(given: Mapping[str, Any]) -> Iterator[str]:
    count, index = given["shard_count"], given["shard_index"]
    if index >= count:
        yield f"shard_index must be less than shard_count, which is {count}, not {index}."
    if count > 1 and given["emit_activate_version_messages"]:
        yield (
            "emit_activate_version_messages must be false if shard_count is greater than 1: each "
            "shard would make the target delete the rows of the others. docs/warehouse.md shows "
            "how to query the current rows instead."
        )


def unknown_settings(config: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Report the settings that do not exist, each with the one that was probably meant."""
    return (printable(name) + did_you_mean(name, known) for name in config if name not in known)
