"""The settings of an emulator: one table for library, command line and admin API."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
LinkForm: TypeAlias = Literal[
    "relative", "versioned", "absolute", "double_question", "token_only", "token_apart", "rotate"
]
Ending: TypeAlias = Literal[
    "plain", "no_links", "empty_links", "null_next", "empty", "code_2000", "code_2000_link"
]
InvoicePaging: TypeAlias = Literal["honoured", "offset_ignored", "ignored", "ignored_with_next"]

STARTUP_ONLY = frozenset({"seed", "customers", "resellers", "invoices", "request_log", "admin"})
"""Options that shape an emulator when it is created and cannot be changed while it runs."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The behaviour of one emulator.

    The description of each option is in its annotation, where the command's ``--help``, the admin
    API and the README's table read it too. Durations are in seconds.
    """

    seed: Annotated[Count, Meta(description="The same seed and sizes give the same data.")] = 1
    customers: Annotated[int, Meta(ge=0, le=2**32 - 1, description="Number of customers.")] = 3000
    resellers: Annotated[Count, Meta(description="Number of indirect resellers.")] = 12
    invoices: Annotated[Count, Meta(description="Number of invoices; three per month.")] = 30
    audit_per_day: Annotated[
        Count, Meta(description="Number of audit records for each past day.")
    ] = 5

    page_limit: Annotated[
        int,
        Meta(ge=1, le=500, description="Largest page of a list, and the page size without `size`."),
    ] = 500
    collection_page_limit: Annotated[
        Count,
        Meta(
            le=500,
            description=(
                "Largest page of collections that are documented as unpaged; 0 to send them "
                "unpaged."
            ),
        ),
    ] = 0
    link_form: Annotated[
        LinkForm,
        Meta(
            description=(
                "How a page names the next one. With `token_apart`, the link has no headers and "
                "the token is in the body; `rotate` cycles through all the others."
            )
        ),
    ] = "relative"
    extra_link_headers: Annotated[
        bool,
        Meta(description="Links require a second header, and requests without it are refused."),
    ] = False
    ending: Annotated[Ending, Meta(description="Form of the last page of a list.")] = "plain"
    empty_page_every: Annotated[
        Count,
        Meta(description="Every n-th page is empty and links to the next; 0 for never, not 1."),
    ] = 0
    total_count: Annotated[
        Literal["page", "all", "wrong"], Meta(description="What `totalCount` counts.")
    ] = "page"
    continuation_by: Annotated[
        Literal["key", "position"],
        Meta(
            description=(
                "Whether continuations name the next customer or a position. With `position`, "
                "later customers move up when one leaves."
            )
        ),
    ] = "key"
    continuation_lifetime: Annotated[
        Seconds, Meta(description="Lifetime of a continuation; 0 for unlimited.")
    ] = 0

    invoice_paging: Annotated[
        InvoicePaging,
        Meta(
            description=(
                "Whether invoices honour `size` and `offset`: every offset may return the first "
                "page, or every request all invoices, with or without an endless next link."
            )
        ),
    ] = "honoured"
    audit_order: Annotated[
        Literal["ascending", "descending"], Meta(description="Order of the audit records.")
    ] = "descending"
    audit_delay: Annotated[
        Seconds, Meta(description="Delay until the audit log shows a change.")
    ] = 0

    bom: Annotated[
        Literal["none", "success", "error", "all"],
        Meta(description="Which API responses start with a byte order mark."),
    ] = "success"
    gzip: Annotated[bool, Meta(description="Compress responses for clients that accept it.")] = (
        False
    )
    latency: Annotated[Seconds, Meta(description="Time each API request takes.")] = 0
    token_latency: Annotated[Seconds, Meta(description="Time each token request takes.")] = 0

    token_lifetime: Annotated[int, Meta(ge=1, description="Lifetime of an access token.")] = 3599
    early_expiry: Annotated[
        Seconds, Meta(description="Access tokens expire this long before their stated expiry.")
    ] = 0
    refresh_token_lifetime: Annotated[Seconds, Meta(description="Lifetime of a refresh token.")] = (
        7_776_000
    )
    revoke_old_refresh_tokens: Annotated[
        bool, Meta(description="A redeemed refresh token cannot be redeemed again.")
    ] = False
    mfa: Annotated[
        Literal["none", "header", "code"],
        Meta(description="Refuse App+User tokens as lacking MFA, in the old or the new form."),
    ] = "none"
    device_interval: Annotated[
        int, Meta(ge=1, description="Polling interval of the device code flow.")
    ] = 5
    app_only_code: Annotated[
        Count,
        Meta(description="Code of the 403 for app-only tokens if a user is required; 0 for none."),
    ] = 900329

    requests_per_minute: Annotated[
        Count, Meta(description="API requests allowed in one window; 0 for no quota.")
    ] = 0
    window_seconds: Annotated[float, Meta(gt=0, description="Length of the quota's `minute`.")] = 60
    quota_model: Annotated[
        Literal["fixed_window", "sliding_window", "token_bucket"],
        Meta(description="How the quota is counted."),
    ] = "fixed_window"
    burst: Annotated[
        Count, Meta(description="Size of the token bucket; 0 for a whole window's quota.")
    ] = 0
    quota_scope: Annotated[
        Literal["tenant", "customer"],
        Meta(description="One quota for everything, or one for each customer in the path."),
    ] = "tenant"
    retry_after: Annotated[
        Literal["seconds", "date", "none"], Meta(description="Form of `Retry-After` with a 429.")
    ] = "seconds"
    count_refused: Annotated[bool, Meta(description="Refused requests use up quota as well.")] = (
        True
    )

    request_log: Annotated[Count, Meta(description="Number of requests to keep in the log.")] = (
        10_000
    )
    admin: Annotated[bool, Meta(description="Serve the admin API below `/_emulator`.")] = True

    def __post_init__(self) -> None:
        """Refuse the one value that would never terminate."""
        if self.empty_page_every == 1:
            msg = "empty_page_every: 1 would make every page empty"
            raise ValueError(msg)


class OptionInfo(msgspec.Struct, frozen=True):
    """One row of the options table, as needed for flags and documentation."""

    name: str
    default: bool | float | str
    """A plain value of the option's type, except that an int may be given for a float."""
    kind: Literal["flag", "choice", "int", "float"]
    choices: tuple[str, ...]
    description: str

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return "--" + self.name.replace("_", "-")


def option_table() -> list[OptionInfo]:
    """Return all options in order of declaration."""
    hints = get_type_hints(Options, include_extras=True)
    return [
        _describe(field.name, field.default, hints[field.name])
        for field in msgspec.structs.fields(Options)
    ]


def _describe(name: str, default: bool | float | str, annotation: Any) -> OptionInfo:  # noqa: ANN401, FBT001
    description = next(
        meta.description for meta in reversed(annotation.__metadata__) if meta.description
    )
    plain = annotation.__origin__
    choices: tuple[str, ...] = ()
    kind: Literal["flag", "choice", "int", "float"]
    if plain is bool:
        kind = "flag"
    elif plain is int:
        kind = "int"
    elif plain is float:
        kind = "float"
    else:
        kind, choices = "choice", plain.__args__
    return OptionInfo(name, default, kind, choices, description)


def checked(options: Options) -> Options:
    """Return `options` after checking types and bounds.

    Raises:
        ValueError: An option has an invalid type or value; the message names it.
    """
    return msgspec.convert(msgspec.to_builtins(options), Options)


def changed(options: Options, changes: dict[str, Any]) -> Options:
    """Return `options` with `changes` applied, for a running emulator.

    Raises:
        ValueError: A change names an unknown option, one that cannot be changed while it runs, or
            has an invalid type or value.
    """
    fixed = sorted(STARTUP_ONLY & changes.keys())
    if fixed:
        msg = f"cannot be changed while the emulator runs: {', '.join(fixed)}"
        raise ValueError(msg)
    return msgspec.convert(msgspec.to_builtins(options) | changes, Options)
