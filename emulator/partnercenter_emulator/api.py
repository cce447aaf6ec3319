"""The API's requests: access checks and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .credentials import RETIRED_RESOURCE
from .customers import create_customer
from .offsets import offset_page
from .paging import Pager, whole
from .resources import NEEDS_USER
from .responses import ApiError, Response, error_response, json_response, service_error

if TYPE_CHECKING:
    from .calls import Call
    from .state import State

MFA_CHALLENGE = (
    b'Bearer error="invalid_token", '
    b'error_description="Multi-factor authentication is required for this user"'
)


def check_route(call: Call) -> None:
    """Refuse paths and methods that do not exist.

    Raises:
        ApiError: 404 in the gateway's shape, or 405 in the framework's.
    """
    if call.resource is None:
        raise ApiError(error_response(404, "B", None, "Resource not found"))
    if call.method != call.resource.method:
        text = f"The requested resource does not support http method '{call.method}'."
        raise ApiError(error_response(405, "C", None, text))


def check_token(call: Call, state: State) -> None:
    """Refuse a request whose token is missing, expired, for another audience or of the wrong kind.

    Raises:
        ApiError: 401 or 403, with the code that the vendor documents for the reason.
    """
    token = state.tokens.access(call.bearer)
    if token is None:
        raise service_error(401, 400, "Access denied.")
    if token.resource == RETIRED_RESOURCE:
        text = "The audience of the token is not supported. Use the Partner Center resource."
        raise service_error(401, "900420", text)
    mfa = "none" if token.consent is None else state.options.mfa
    if token.consent is not None and not token.consent.mfa and mfa == "none":
        mfa = "code"
    if mfa == "header":
        challenge = [(b"www-authenticate", MFA_CHALLENGE)]
        raise ApiError(Response(401, headers=challenge, content_type=None))
    if mfa == "code":
        raise service_error(401, "900421", "The token lacks multi-factor authentication.")
    code = state.options.app_only_code
    if call.place not in NEEDS_USER:
        return
    if code and token.consent is None:
        raise service_error(403, code, "Application-only tokens are not supported here.")
    if token.consent is not None and not token.consent.account.admin_agent:
        raise service_error(403, 900150, "The user does not have the role that this needs.")


def respond(call: Call, state: State, cycle: int) -> Response:
    """Return the API's response; `cycle` is that of a fault, or 0.

    Raises:
        ApiError: The request is refused.
    """
    resource = call.resource
    assert resource is not None, call.path  # noqa: S101 - see check_route
    if resource.method == "POST":
        return create_customer(call.body, state)
    position = _position(call, state) if resource.of_customer else 0
    if resource.record is not None:
        return json_response(resource.record(state, position))
    listing = call.listing
    if listing is not None and listing.problem is not None:
        raise listing.problem
    assert resource.rows is not None, call.place  # noqa: S101 - what else there is
    rows = resource.rows(state, position, listing.parameters if listing is not None else {})
    if listing is not None and resource.paging == "offset":
        return json_response(
            offset_page(resource, rows, listing, state.options, _origin(call), cycle)
        )
    if listing is None or not listing.paged:
        return json_response(whole(resource, rows, listing, state.options))
    pager = Pager(resource, rows, listing, state.continuations, state.options, _origin(call))
    return json_response(pager.page(cycle))


def _origin(call: Call) -> str:
    return f"http://{call.header(b'host')}"


def _position(call: Call, state: State) -> int:
    position = state.directory.position_of(call.customer_id or "")
    if position is None:
        raise service_error(404, 1000, "Resource not found.")
    return position
