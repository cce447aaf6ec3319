"""What the tap does about each response: one table, from response to outcome.

Facts are from "Partner Center REST error codes", "API throttling guidance for partners calling
Partner Center APIs" and "Microsoft Entra authentication and authorization error codes".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


class Place(Enum):
    """Which part of a stream a request reads."""

    FIRST = "first page"
    NEXT = "continuation"
    COMPUTED = "continuation that no page names"
    RESUMED = "continuation of an earlier run"
    RESELLERS = "list of resellers"
    RESELLERS_NEXT = "continuation of the list of resellers"
    CUSTOMER = "customer"
    DIRECTORY = "customer's directory"
    CUSTOMER_NEXT = "continuation for a customer"


class Outcome(Enum):
    """What the tap does about a response."""

    RETRY = "retry with growing pauses"
    WAIT = "retry when the service allows it"
    REFRESH = "retry once with a new token"
    SKIP = "leave this customer out"
    RESTART = "read the stream from the start"
    END = "end of the data if the previous page is short; otherwise read it again, once"
    FAIL = "end the run"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: which responses, what to do, and what to show the operator.

    Attributes:
        outcome: What the tap does.
        statuses: HTTP statuses; empty for all that no earlier row matches.
        codes: Values of the body's `code`, as text; empty for any.
        places: Where the row applies; empty for everywhere.
        meaning: What the response means.
        remedy: What the operator can do, as a sentence.
        intermittent: Whether only some requests are refused at first, before all will be: each is
            retried more often, and one that then passes is worth a warning.
    """

    outcome: Outcome
    statuses: AbstractSet[int] = frozenset()
    codes: AbstractSet[str] = frozenset()
    places: AbstractSet[Place] = frozenset()
    meaning: str = "the service refused the request"
    remedy: str = "Contact Microsoft support with these ids."
    intermittent: bool = False

    def matches(self, status: int, code: str | None, place: Place) -> bool:
        """Return whether a response matches this row."""
        return (
            (not self.statuses or status in self.statuses)
            and (not self.codes or code in self.codes)
            and (not self.places or place in self.places)
        )


_CUSTOMER = frozenset({Place.CUSTOMER, Place.CUSTOMER_NEXT, Place.DIRECTORY})
_DIRECTORY = frozenset({Place.DIRECTORY})
_ADMIN_AGENT = (
    "Give the consenting user the role Admin agent in Partner Center, or deselect the stream."
)
#: For any 403 to a request that needs a user if there is none: its code has changed over time.
APP_AND_USER = "Set refresh_token (App+User credentials), or deselect the stream."
#: The code for a partner whose enrolment does not include a resource.
NOT_ENROLLED = "1002"
_CONSENT = "Consent again with MFA and set the new refresh_token."
_NOT_THE_LAST = (
    "the service rejected a continuation, and the page before it does not look like the last one"
)

#: The first row that matches a response other than 200 decides.
RULES: tuple[Rule, ...] = (
    # The service has named no further page, and confirms it.
    Rule(Outcome.END, {400, 404, 416}, places={Place.COMPUTED}),
    # The service can issue a token after the last page (seen in Microsoft's own bulk migration
    # tool). But code 2000 is general bad input, such as a token that has expired: what it means
    # depends on the page before (`pages.Pages`). The remedies are for the second time.
    Rule(
        Outcome.END,
        {400},
        {"2000"},
        {Place.NEXT},
        _NOT_THE_LAST,
        "Set a smaller page_size: less time then passes between two pages.",
    ),
    Rule(
        Outcome.END,
        {400},
        {"2000"},
        # Their pages have no size that could be smaller.
        {Place.CUSTOMER_NEXT, Place.RESELLERS_NEXT},
        _NOT_THE_LAST,
        "Try again later, or deselect the stream.",
    ),
    # How the service rejects an old continuation is not documented. If the status has another
    # reason, the request for the first page shows it.
    Rule(
        Outcome.RESTART,
        {*range(400, 500)} - {401, 408, 429},
        places={Place.RESUMED},
        meaning="the stored continuation has expired",
        remedy="Nothing to do: the stream is read from the start.",
    ),
    Rule(
        Outcome.SKIP,
        {400},
        {"3000"},
        _CUSTOMER,
        "the service finds no relationship with this customer",
        "Look the customer up in Partner Center.",
    ),
    # 401
    Rule(
        Outcome.REFRESH,
        {401},
        {"900420"},
        meaning="the token was issued for the retired Azure AD Graph audience",
        remedy=(
            "Consent again for https://api.partnercenter.microsoft.com and check the setting cloud."
        ),
    ),
    Rule(
        Outcome.REFRESH,
        {401},
        {"900421"},
        meaning="the token carries no proof of MFA",
        remedy=_CONSENT,
        # The service enforces MFA for a growing share of the requests first.
        intermittent=True,
    ),
    Rule(
        Outcome.REFRESH,
        {401},
        meaning="the service does not accept the token",
        remedy=(
            "Check tenant_id, cloud and the app's API permissions; with App+User, consent again."
        ),
    ),
    # 403
    Rule(
        Outcome.FAIL,
        {403},
        {"900329"},
        meaning="this endpoint does not accept app-only credentials",
        remedy=(
            "Set refresh_token (App+User credentials), consent again if it is set, or deselect the "
            "stream."
        ),
    ),
    Rule(
        Outcome.FAIL,
        {403},
        {"900149"},
        meaning="the partner program of this tenant is not active",
        remedy="Renew the enrolment in Partner Center.",
    ),
    # Rights in a customer's directory are granted by each customer.
    Rule(
        Outcome.SKIP,
        {403},
        {"900308", "900309"},
        _DIRECTORY,
        "the partner has no role in this customer's directory",
        "Ask the customer for a GDAP relationship with the role Directory readers.",
    ),
    Rule(
        Outcome.FAIL,
        {403},
        {"900150", "900308", "2032"},
        meaning="the user's role does not allow this request",
        remedy=_ADMIN_AGENT,
    ),
    Rule(
        Outcome.FAIL,
        {403},
        {"900309", "90000"},
        meaning="conditional access of the tenant blocks the sign-in",
        remedy="Exclude the app from the conditional access policies in Microsoft Entra.",
    ),
    Rule(
        Outcome.SKIP,
        {403},
        {"20002"},
        _CUSTOMER,
        "the partner no longer has a commerce relationship with this customer",
        "Look the customer up in Partner Center.",
    ),
    Rule(
        Outcome.SKIP,
        {403},
        {NOT_ENROLLED},
        _CUSTOMER,
        "authorization failed for this customer",
        _ADMIN_AGENT,
    ),
    Rule(Outcome.FAIL, {403}, {NOT_ENROLLED}, meaning="authorization failed", remedy=_ADMIN_AGENT),
    Rule(
        Outcome.SKIP,
        {403, 404},
        places=_CUSTOMER,
        meaning="the service does not return the records of this customer",
        remedy="Look the customer up in Partner Center.",
    ),
    Rule(Outcome.FAIL, {403}, meaning="the service forbids the request", remedy=_ADMIN_AGENT),
    # A collection that is not found is not empty: second pages once returned this for weeks.
    Rule(
        Outcome.FAIL,
        {404},
        meaning="the service does not recognize the address",
        remedy="Check api_url; if it is right, try again later.",
    ),
    # Slow down
    Rule(
        Outcome.WAIT,
        {429},
        meaning="the service is throttling this tenant",
        remedy="Lower max_concurrent_requests or max_requests_per_minute, or run at another time.",
    ),
    # Temporary faults
    Rule(
        Outcome.RETRY,
        codes={"900192"},
        meaning="the service had an internal error",
        remedy="Try again later.",
    ),
    Rule(
        Outcome.FAIL,
        {501},
        meaning="the service does not implement this request",
        remedy="Deselect the stream.",
    ),
    Rule(
        Outcome.RETRY,
        {408, *range(500, 600)},
        meaning="the service is not available",
        remedy="Try again later.",
    ),
    Rule(
        Outcome.RETRY,
        {*range(200, 300)},
        meaning="the service did not send the requested data",
        remedy="Try again later; check that no proxy responds in its place.",
    ),
    # Following a redirect would carry the token to another address.
    Rule(
        Outcome.FAIL,
        {*range(300, 400)},
        meaning="the service redirects to another address, which the tap does not follow",
        remedy="Check api_url and any proxy.",
    ),
    Rule(
        Outcome.SKIP,
        {400},
        places={Place.CUSTOMER, Place.DIRECTORY},
        meaning="the service rejected the request for this customer",
    ),
    Rule(
        Outcome.FAIL,
        {400},
        {"2000"},
        {Place.RESELLERS},
        "the service rejected the request as malformed",
    ),
    Rule(
        Outcome.FAIL,
        {400},
        {"2000"},
        meaning="the service rejected the request as malformed",
        remedy="Check page_size and reseller_ids.",
    ),
    Rule(Outcome.FAIL),
)


def rule_for(status: int, code: str | None, place: Place) -> Rule:
    """Return the row for a response with this HTTP status, and with this code in its body."""
    return next(rule for rule in RULES if rule.matches(status, code, place))


#: The row for a 200 whose body is not a collection, and the row for throttling.
NO_COLLECTION = rule_for(HTTPStatus.OK, None, Place.FIRST)
THROTTLED = rule_for(HTTPStatus.TOO_MANY_REQUESTS, None, Place.FIRST)
