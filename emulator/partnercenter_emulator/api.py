"""The API's requests other than the list of customers: who may ask, and what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .answers import Answer, ApiError, error_answer, json_answer, service_error
from .credentials import RETIRED_RESOURCE
from .customers import create_customer
from .listing import Listing, Pager

if TYPE_CHECKING:
    from .calls import Call
    from .data import Record
    from .state import State

NEEDS_USER = frozenset(
    {"partition", "partition_continuation", "relationships", "resellers", "create"}
)
RELATIONSHIP_TYPES = ("IsIndirectCloudSolutionProviderOf", "IsIndirectResellerOf")
MFA_CHALLENGE = (
    b'Bearer error="invalid_token", '
    b'error_description="Multi-factor authentication is required for this user"'
)


def check_route(call: Call) -> None:
    """Refuse paths and methods that do not exist.

    Raises:
        ApiError: 404 in the gateway's shape, or 405 in the framework's.
    """
    if call.place == "other":
        raise ApiError(error_answer(404, "B", None, "Resource not found"))
    if call.method != ("POST" if call.place == "create" else "GET"):
        text = f"The requested resource does not support http method '{call.method}'."
        raise ApiError(error_answer(405, "C", None, text))


def check_token(call: Call, state: State) -> None:
    """Refuse a request whose token is missing, over, for another audience or of the wrong kind.

    Raises:
        ApiError: 401 or 403, with the code that the vendor documents for the reason.
    """
    token = state.tokens.access(call.bearer)
    if token is None:
        raise service_error(401, 400, "Access denied.")
    if token.resource == RETIRED_RESOURCE:
        text = "The audience of the token is not supported. Use the Partner Center resource."
        raise service_error(401, "900420", text)
    if token.with_user and state.options.mfa == "header":
        challenge = [(b"www-authenticate", MFA_CHALLENGE)]
        raise ApiError(Answer(401, headers=challenge, content_type=None))
    if token.with_user and state.options.mfa == "code":
        raise service_error(401, "900421", "The token lacks multi-factor authentication.")
    code = state.options.app_only_code
    if code and not token.with_user and call.place in NEEDS_USER:
        raise service_error(403, code, "Application-only tokens are not supported here.")


def respond(call: Call, state: State, cycle: int) -> Answer:
    """Return the API's answer; `cycle` is that of a fault, or 0.

    Raises:
        ApiError: The request is refused.
    """
    directory = state.directory
    match call.place:
        case "relationships":
            return json_answer(_collection(directory.relationships(_position(call, state))))
        case "customer":
            return json_answer(directory.full(_position(call, state)))
        case "resellers":
            return _resellers(call, state)
        case "create":
            return create_customer(call.body, directory)
        case _:
            listing = call.listing or Listing()
            if listing.problem is not None:
                raise listing.problem
            origin = f"http://{call.header(b'host')}"
            pager = Pager(directory, state.continuations, state.options, origin)
            return json_answer(pager.page(listing, cycle))


def _position(call: Call, state: State) -> int:
    position = state.directory.position_of(call.customer_id or "")
    if position is None:
        raise service_error(404, 1000, "Resource not found.")
    return position


def _resellers(call: Call, state: State) -> Answer:
    asked = parse_qs(call.query.decode("latin-1")).get("relationship_type", [""])[0]
    if asked not in RELATIONSHIP_TYPES:
        raise service_error(400, 2000, "The relationship_type is missing or unknown.")
    # A provider is no reseller of anybody: the second type is known and always empty.
    mine = asked == RELATIONSHIP_TYPES[0]
    return json_answer(_collection(state.directory.resellers if mine else []))


def _collection(items: list[Record]) -> Record:
    return {
        "totalCount": len(items),
        "items": items,
        "attributes": {"objectType": "Collection"},
    }
