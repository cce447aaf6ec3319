"""Parameters of the API's collections: how clients spell them, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NoReturn, TypeAlias
from urllib.parse import quote

import msgspec

from .directory import Filter
from .responses import ApiError, error_response, service_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Parameters: TypeAlias = "Mapping[str, str]"
"""Values in their canonical spelling by the parameters' documented names."""

FILTER_FIELDS = {name.lower(): name for name in ("CompanyName", "Domain", "IndirectReseller")}
AGREEMENT_TYPES = ("MicrosoftCloudAgreement", "MicrosoftCustomerAgreement", "*")
RELATIONSHIP_TYPES = ("IsIndirectCloudSolutionProviderOf", "IsIndirectResellerOf")

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `read` checks a value and returns its canonical spelling.

    A parameter that `repeats` appears in the query once for each of its values; `read` takes and
    returns them separated by commas.
    """

    name: str
    read: Callable[[str], str]
    required: bool = False
    repeats: bool = False

    def write(self, value: str) -> str:
        """Return the parameter as it appears in a query."""
        values = value.split(",") if self.repeats else [value]
        return "&".join(f"{self.name}={quote(one, safe='')}" for one in values)


def condition_of(parameters: Parameters) -> Filter | None:
    """Return the filter of a list of customers, parsed."""
    text = parameters.get("filter")
    if not text:
        return None
    members = msgspec.json.decode(text)
    return Filter(members["Field"], members["Value"])


def _filter(text: str) -> str:
    """Return a filter as compact JSON with the documented spelling of keys and field."""
    try:
        members = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.MsgspecError:
        refuse("The filter is not a JSON object of strings.")
    lowered = {name.lower(): value for name, value in members.items()}
    field = FILTER_FIELDS.get(lowered.get("field", "").lower())
    if lowered.keys() != {"field", "value", "operator"} or field is None:
        refuse("The filter must have a supported Field, a Value and an Operator.")
    if lowered["operator"].lower() != "starts_with":
        refuse("Only the operator starts_with is supported for customers.")
    canonical = {"Field": field, "Value": lowered["value"], "Operator": "starts_with"}
    return msgspec.json.encode(canonical).decode()


def _relationship_type(text: str) -> str:
    if text not in RELATIONSHIP_TYPES:
        refuse("The relationship_type is missing or unknown.")
    return text


def _day(text: str) -> str:
    try:
        known = _DAY.fullmatch(text) is not None and date.fromisoformat(text) is not None
    except ValueError:
        known = False
    if not known:
        raise ApiError(error_response(400, "C", None, "The request is invalid."))
    return text


def _agreement_type(text: str) -> str:
    known = {name.lower(): name for name in AGREEMENT_TYPES}
    return known.get(text.lower(), text)


def _groups(text: str) -> str:
    groups = [group.lower() for group in text.split(",")]
    if not {"group1", "group2"}.issuperset(groups):
        refuse("The licenseGroupIds are unknown.")
    return ",".join(sorted(set(groups)))


def refuse(description: str) -> NoReturn:
    """Refuse a request because of its query.

    Raises:
        ApiError: 400 with code 2000.
    """
    raise service_error(400, 2000, description) from None


FILTER = Parameter("filter", _filter)
RELATIONSHIP_TYPE = Parameter("relationship_type", _relationship_type, required=True)
AGREEMENT_TYPE = Parameter("agreementType", _agreement_type)
LICENSE_GROUPS = Parameter("licenseGroupIds", _groups, repeats=True)
START_DATE = Parameter("startDate", _day)
END_DATE = Parameter("endDate", _day)
