"""Audit records: a stable id where the service sends none, and never a credential.

Facts are from "Auditing resources" and "Get a record of Partner Center activity".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from tap_partnercenter.changes import ChangeStream
from tap_partnercenter.records import digest

if TYPE_CHECKING:
    from singer_sdk.helpers.types import Context, Record

    from tap_partnercenter.records import Json

#: The resource before and after the operation: JSON as text.
_VALUES = ("resourceOldValue", "resourceNewValue")
#: Members that hold a credential or a product key, in any spelling: `UserCredentials`,
#: `passwordProfile`, `client_secret`, `KeyCredentials`, …
_SECRET = re.compile(
    r"password|passwd|secret|credential|token|softwarekey|productkey|licensekey|activationkey"
)


class AuditStream(ChangeStream):
    """Records of what was done, a day at a time."""

    @override
    def post_process(self, row: Record, context: Context | None = None) -> dict[str, Any]:
        # Computed from the record as received, so that no setting changes the id.
        identifier = row.get("id") or f"tap-{digest(row)}"
        row = {**row, "id": identifier}
        for name in _VALUES:
            value = row.pop(name, None)
            if self.run.settings.audit_resource_values and isinstance(value, str):
                row[name] = without_credentials(value)
        details = row.get("customizedData")
        if isinstance(details, dict):
            details = [details]  # one pair instead of a list
        if isinstance(details, list):
            row["customizedData"] = [detail for detail in details if not _has_secret_key(detail)]
        return super().post_process(row, context)


def without_credentials(text: str) -> str | None:
    """Return JSON text without the members that hold a credential, at any depth.

    Returns:
        None for text that is not JSON: what cannot be inspected is not passed on.
    """
    try:
        return json.dumps(_cleaned(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _cleaned(value: Json) -> Json:
    if _has_secret_key(value):
        return None
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items() if not _is_secret(name)}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        # JSON as text inside JSON, as the values themselves are.
        return without_credentials(value)
    return value


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(re.sub(r"[\W_]", "", name).lower()))


def _has_secret_key(item: Json) -> bool:
    """Return whether an object is a pair of a key and a value, and the key names a credential."""
    if not isinstance(item, dict):
        return False
    return any(
        name.lower() in {"key", "name"} and isinstance(value, str) and _is_secret(value)
        for name, value in item.items()
    )
