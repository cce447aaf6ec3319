"""The connection test, `--test`: who signs in, and whether each stream responds."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from tap_partnercenter.claims import claims_of
from tap_partnercenter.errors import ConnectionFailed, PartnerCenterError
from tap_partnercenter.full_table import FullTable
from tap_partnercenter.refresh_streams import RefreshStream
from tap_partnercenter.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tap_partnercenter.children import ChildStream
    from tap_partnercenter.pages import Page
    from tap_partnercenter.sdk import PlainTap
    from tap_partnercenter.stream import PartnerCenterStream

#: Where the ids for Microsoft support begin; a table has no room for them.
_IDS = " MS-"
#: Seconds of retries after which the other streams are not tried, because someone waits.
_PATIENCE = 5.0


@dataclass(slots=True)
class Findings:
    """What a connection test found.

    Attributes:
        rows: The table: name and text of each row.
        failures: Why streams are not reachable, by their names.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    failures: dict[str, PartnerCenterError] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table."""
        width = max(len(name) for name, _ in self.rows)
        for name, text in self.rows:
            yield f"{name:<{width}}  {' '.join(text.split())}"


def try_streams(tap: PlainTap) -> None:
    """Read the first page of each selected stream, and show the results in a table.

    Nothing is written to standard output: records are personal data.

    Raises:
        PartnerCenterError: If a stream is not reachable, with the first reason.
    """
    found = examine(tap)
    for line in found.lines():
        tap.logger.info("%s", line)
    if not found.failures:
        return
    first = next(iter(found.failures.values()))
    if len({str(error) for error in found.failures.values()}) == 1:
        raise first
    names = ", ".join(found.failures)
    message = f"{len(found.failures)} streams are not reachable: {names}. The first: {first}"
    raise PartnerCenterError(message) from first


def examine(tap: PlainTap) -> Findings:
    """Sign in, and read the first page of each selected stream."""
    found = Findings()
    settings = tap.run.settings
    authenticator = tap.run.authenticator
    refused: PartnerCenterError | None = None
    try:
        token = authenticator.current()
    except PartnerCenterError as error:
        refused, token = error, ""
    kind = "app-only" if tap.run.app_only else "App+User"
    means = "a client secret" if settings.client_certificate_path is None else "a certificate"
    if authenticator.certificate is not None:
        means += f" that expires on {authenticator.certificate.expires_at:%Y-%m-%d}"
    found.rows += [
        ("credentials", f"{kind}, with {means}"),
        ("tenant", settings.tenant_id),
        ("cloud", tap.config["cloud"]),
        ("token", _token(token) if refused is None else f"none. {_message(refused)}"),
    ]
    if not tap.run.app_only and refused is None:
        found.rows.append(("refresh token", _refresh_token(tap)))
    streams = cast("Iterable[PartnerCenterStream]", tap.streams.values())
    for root in (stream for stream in streams if stream.parent_stream_type is None):
        for stream, outcome in _outcomes(root):
            if refused is not None:
                found.failures[stream.name] = refused
                why = "the service does not respond" if token else "there is no token"
                found.rows.append((stream.name, f"not tried: {why}."))
                continue
            began = tap.run.clock.monotonic()
            try:
                text = outcome()
            except PartnerCenterError as error:
                found.failures[stream.name] = error
                text = f"not reachable: {_message(error).removeprefix(f'{stream.name}: ')}"
                waited = tap.run.clock.monotonic() - began
                if isinstance(error, ConnectionFailed) and (error.silent or waited > _PATIENCE):
                    # The others would take as long to fail.
                    refused = error
            found.rows.append((stream.name, text))
    return found


def _message(error: PartnerCenterError) -> str:
    return str(error).partition(_IDS)[0]


def _token(token: str) -> str:
    claims = claims_of(token)
    if claims is None:
        return "granted, but its claims cannot be read."
    mfa = {None: "", True: ", with MFA", False: ", without MFA"}[claims.mfa]
    ends = f", expires {claims.expires_at:%Y-%m-%d %H:%M} UTC" if claims.expires_at else ""
    return f"{', '.join(claims.rights) or 'no roles'}{mfa}{ends}"


def _refresh_token(tap: PlainTap) -> str:
    tokens = tap.run.authenticator.refresh_tokens
    ends = (
        "90 days after it was issued" if tokens.expires_at is None else f"on {tokens.expires_at:%F}"
    )
    kept = "stored in token_cache_path" if tokens.is_stored else "not stored: set token_cache_path"
    return f"expires {ends} unless it is used before then; {kept}"


def _outcomes(root: PartnerCenterStream) -> Iterator[tuple[PartnerCenterStream, Callable[[], str]]]:
    """Yield what tries a root stream, and each of its children for the first record."""
    children = root.children.streams if isinstance(root, FullTable) else []
    if not (root.selected or children) or isinstance(root, RefreshStream):
        return
    first: list[Page | PartnerCenterError | None] = []

    def first_page() -> Page | None:
        """Read it once, for the stream and its children."""
        if not first:
            try:
                first.append(root.first_page())
            except PartnerCenterError as error:
                first.append(error)
        (page,) = first
        if isinstance(page, PartnerCenterError):
            raise page
        return page

    def of_child(child: ChildStream) -> str:
        page = first_page()
        if page is None or not page.records:
            return f"not tried: there are no {root.name}."
        parent = root.post_process(page.records[0])
        return _outcome(child, child.pages_of(parent["id"]).read())

    if root.selected:
        yield root, lambda: _outcome(root, first_page())
    for child in children:
        yield child, partial(of_child, child)


def _outcome(stream: PartnerCenterStream, page: Page | None) -> str:
    if page is not None and page.refusal is not None:
        return "reachable, but it refused the one customer that was tried."
    if page is None or not page.records:
        return "reachable, but it has no rows."
    stream.post_process({**page.records[0], **page.context})
    return f"reachable, {counted(len(page.records), 'row')} on the first page"
