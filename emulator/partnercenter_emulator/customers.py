"""`POST /v1/customers`: a new customer, for an indirect reseller or for the partner itself."""

from __future__ import annotations

import secrets
import string
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from .changes import DEFAULT_AUDIT
from .responses import ApiError, Response, error_response, json_response, service_error

if TYPE_CHECKING:
    from .data import Record
    from .directory import Directory
    from .state import State

REGISTRATION_NUMBER_COUNTRIES = frozenset(
    "AE AM AZ BR BY HU IN IQ KG KZ MD MM PL RU SA SS TH TJ TR UA UZ VE VN ZA".split()  # noqa: SIM905 - a table, one line
)
"""Where `organizationRegistrationNumber` is required (page "Create a customer ...")."""

_BILLING = ("firstName", "lastName", "email", "culture", "language", "companyName")
_ADDRESS = (
    "country",
    "region",
    "city",
    "state",
    "district",
    "addressLine1",
    "addressLine2",
    "addressLine3",
    "postalCode",
    "firstName",
    "lastName",
    "middleName",
    "emailAddress",
    "phoneNumber",
)
_PASSWORD = string.ascii_letters + string.digits + "*!$%"


def create_customer(body: bytes, state: State) -> Response:
    """Create a customer and return 201 with its record and the first user's credentials.

    Raises:
        ApiError: 400 for a body that lacks a member or names an unknown reseller, 409 for a domain
            that belongs to another customer.
    """
    directory = state.directory
    try:
        document = _lowered(msgspec.json.decode(body, type=dict[str, Any]))
    except msgspec.DecodeError:
        text = "The request body is not a JSON object."
        raise ApiError(error_response(400, "C", None, text)) from None
    company = _object(document, "companyProfile")
    billing = _object(document, "billingProfile")
    address = _object(billing, "defaultAddress")
    domain = _text(company, "domain")
    for name in ("email", "culture", "language", "companyName"):
        _text(billing, name)
    if _text(address, "country").upper() in REGISTRATION_NUMBER_COUNTRIES:
        _text(company, "organizationRegistrationNumber")
    reseller = _reseller(document, directory)
    if directory.has_domain(domain):
        raise service_error(409, 409, "The domain is already in use by another customer.")
    details = _details(billing, address)
    name = company.get("companyname") or billing["companyname"]
    record = directory.create(domain, str(name), details, reseller)
    number = company.get("organizationregistrationnumber")
    if number:
        record["companyProfile"]["organizationRegistrationNumber"] = number
    record.pop("links")
    attributes = record.pop("attributes")
    password = "".join(secrets.choice(_PASSWORD) for _ in range(8))
    partner = record.pop("associatedPartnerId", None)
    record["userCredentials"] = {"userName": "admin", "password": password}
    if partner is not None:
        record["associatedPartnerId"] = partner
    record["attributes"] = attributes
    position = directory.position_of(record["id"])
    assert position is not None, record["id"]  # noqa: S101 - it was just created
    state.changes.record_change("customers", "add", position, DEFAULT_AUDIT, new=record)
    return json_response(record, 201)


def _reseller(document: Record, directory: Directory) -> int | None:
    identifier = document.get("associatedpartnerid")
    if not identifier:
        return None
    number = directory.reseller_number(str(identifier))
    if number is None:
        text = "AssociatedPartnerId names no indirect reseller of this partner."
        raise service_error(400, 3000, text)
    return number


def _details(billing: Record, address: Record) -> Record:
    """Return the billing profile as the vendor does: known members that have a value."""
    language, _, region = str(billing["culture"]).partition("-")
    known = billing | {"culture": f"{language.lower()}-{region.upper()}" if region else language}
    profile: Record = {"id": str(uuid.uuid4())} | _known(known, _BILLING)
    profile["defaultAddress"] = _known(address, _ADDRESS)
    etag = str(secrets.randbits(63) - 2**62)
    profile["attributes"] = {"etag": etag, "objectType": "CustomerBillingProfile"}
    return {"billingProfile": profile}


def _known(members: Record, names: tuple[str, ...]) -> Record:
    return {name: members[name.lower()] for name in names if members.get(name.lower()) is not None}


def _object(members: Record, name: str) -> Record:
    value = members.get(name.lower())
    if not isinstance(value, dict):
        raise _missing(name)
    return value


def _text(members: Record, name: str) -> str:
    value = members.get(name.lower())
    if not isinstance(value, str) or not value.strip():
        raise _missing(name)
    return value


def _missing(name: str) -> ApiError:
    return service_error(400, 3000, f"The property {name} is missing or invalid.")


def _lowered(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return JSON with lower-case keys without underscores: callers spell them differently."""
    if isinstance(value, list):
        return [_lowered(element) for element in value]
    if isinstance(value, dict):
        return {key.replace("_", "").lower(): _lowered(element) for key, element in value.items()}
    return value
