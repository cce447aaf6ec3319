"""The command `tap-partnercenter-login`: from an app registration to a token for the tap."""

from __future__ import annotations

import os
import shlex
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tap_partnercenter.claims import claims_of
from tap_partnercenter.clock import Clock
from tap_partnercenter.clouds import CLOUDS
from tap_partnercenter.command_line import json_object
from tap_partnercenter.connection_check import examine
from tap_partnercenter.credentials import PROPERTIES
from tap_partnercenter.environment import PREFIX
from tap_partnercenter.errors import PartnerCenterError
from tap_partnercenter.flows import Flows
from tap_partnercenter.loopback import Listener, Page
from tap_partnercenter.settings import CONFIG_JSONSCHEMA, Settings, problems
from tap_partnercenter.tap import TapPartnerCenter
from tap_partnercenter.token_cache import REFRESH_TOKEN_LIFETIME, token_cache
from tap_partnercenter.token_store import NotStored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_partnercenter.claims import Claims

PORT = 8400
#: Settings of the sign-in that environment variables may set.
NAMES = (*(each.name for each in PROPERTIES), "cloud", "api_url", "auth_url")
#: Where the token is stored by default.
DEFAULT_CACHE = Path("~/.tap-partnercenter/tokens.json")
_SECRETS = frozenset({"client_secret", "client_certificate_password", "token_cache_key"})
_PLUGIN = "tap-partnercenter"


@click.command("tap-partnercenter-login")
@click.option("--config", type=click.File(encoding="utf-8"), help="The tap's JSON configuration.")
@click.option("--tenant-id", help="Tenant of the partner: its GUID or a verified domain.")
@click.option("--client-id", help="Application (client) id of the app registration.")
@click.option("--cloud", type=click.Choice([*CLOUDS]), help="Microsoft cloud of the tenant.")
@click.option("--token-cache-path", help="Where to store the token: a file or a database.")
@click.option("--device-code", is_flag=True, help="Sign in with a browser on another machine.")
@click.option(
    "--port", default=PORT, show_default=True, help="Local port that the browser returns to."
)
@click.option("--timeout", default=300, show_default=True, help="Seconds to wait for the browser.")
@click.option("--no-browser", is_flag=True, help="Only print the URL to open.")
@click.pass_context
def main(  # noqa: PLR0913 - one for each option
    context: click.Context,
    /,
    *,
    config: IO[str] | None,
    device_code: bool,
    port: int,
    timeout: int,
    no_browser: bool,
    **flags: str | None,
) -> None:
    """Sign in once as a partner user and store the refresh token where the tap finds it.

    Settings come from these options, from environment variables such as
    TAP_PARTNERCENTER_TENANT_ID, or from the configuration file; missing ones are prompted for.
    There is no option for secrets, because other users of the machine could see them.
    """
    try:
        given = _configuration(config, flags)
        login = Login(given)
        if device_code:
            tokens = login.by_device_code()
        else:
            tokens = login.by_browser(port, timeout, open_browser=not no_browser)
        reached = login.finish(tokens)
    except PartnerCenterError as error:
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        context.exit(1)
    context.exit(0 if reached else 1)


class Login:
    """One sign-in, from its settings to its token. What fails raises a `PartnerCenterError`."""

    #: Reads the time and waits; tests replace it.
    clock_class: type[Clock] = Clock

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._settings = Settings.from_config(config)
        self._clock = self.clock_class()
        cache = token_cache(self._settings, clock=self._clock, logger=TapPartnerCenter.logger)
        assert cache is not None  # noqa: S101 - it has a default
        self._cache = cache
        # Before anyone signs in: a token that cannot be stored is useless.
        cache.read()
        self._flows = Flows(self._settings, self._clock)

    def by_browser(self, port: int, timeout: float, *, open_browser: bool) -> Mapping[str, Any]:
        """Sign in with the browser of this machine."""
        try:
            listener = Listener(port)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "there is no such port"
            message = (
                f"Port {port} cannot be used ({reason}). Stop the program that uses it, choose "
                "another with --port, or use --device-code."
            )
            raise PartnerCenterError(message) from None
        with listener:
            flow = self._flows.begin(listener)
            self._announce()
            if open_browser and webbrowser.open(flow["auth_uri"]):
                click.echo("Opening your browser. If nothing happens, open this URL:")
            else:
                click.echo("Open this URL in a browser on this machine:")
            click.echo(f"\n  {flow['auth_uri']}\n")
            auth_response = listener.wait(timeout)
            if auth_response is None:
                other = (
                    " A response to another sign-in arrived."
                    if listener.unrelated_responses
                    else ""
                )
                message = (
                    f"sign-in: no response from the browser within {timeout:.0f} s.{other} Start "
                    "again; if the browser is on another machine, use --device-code."
                )
                raise PartnerCenterError(message)
            try:
                tokens = self._flows.redeem(flow, auth_response)
                self._save(tokens)
            except PartnerCenterError as error:
                listener.show(Page("Not signed in", [str(error)], failed=True))
                raise
            listener.show(_page(claims_of(str(tokens.get("access_token")))))
        return tokens

    def by_device_code(self) -> Mapping[str, Any]:
        """Sign in with a browser anywhere."""
        flow = self._flows.begin_device()
        self._announce()
        click.echo(
            f"Open {flow['verification_uri']} in a browser on any device and enter this code:"
        )
        click.echo(f"\n  {flow['user_code']}\n")
        tokens = self._flows.redeem_device(flow)
        self._save(tokens)
        return tokens

    def finish(self, tokens: Mapping[str, Any]) -> bool:
        """Report who signed in, test each stream, and print the commands that finish the set-up.

        Returns:
            Whether every stream is reachable.
        """
        claims = claims_of(str(tokens.get("access_token")))
        ends = datetime.fromtimestamp(self._clock.now() + REFRESH_TOKEN_LIFETIME, UTC)
        click.echo(f"Signed in{_who(claims)}.")
        if claims is not None and claims.mfa is False:
            click.echo(
                "Warning: signed in without MFA. Partner Center refuses such tokens: sign in again "
                "as a user who has MFA, or require MFA for this user.",
            )
        click.echo(
            f"The refresh token expires on {ends:%Y-%m-%d} unless it is used before then; every "
            "run extends it. It is stored in token_cache_path.\n",
        )
        tap = TapPartnerCenter(config=self._config)
        tap.testing = True
        try:
            found = examine(tap)
        finally:
            tap.run.close()
        for line in found.lines():
            click.echo(line)
        click.echo("\nIn your Meltano project:\n")
        for line in _setup_commands(self._config):
            click.echo(f"  {line}")
        return not found.failures

    def _announce(self) -> None:
        settings = self._settings
        click.echo(f"The app {settings.client_id} of the tenant {settings.tenant_id} asks")
        click.echo(f"  - to use Partner Center as you ({self._flows.scopes[0]}),")
        click.echo("  - to stay signed in for 90 days after each use (offline_access),")
        click.echo("  - to know who you are (openid, profile).")
        click.echo("Sign in with MFA, as a user with the role Admin agent in Partner Center.\n")

    def _save(self, tokens: Mapping[str, Any]) -> None:
        try:
            self._cache.begin(str(tokens["refresh_token"]))
        except NotStored as error:
            message = (
                f"The token could not be stored in token_cache_path: {error}. Make it writable, or "
                "set another path; then sign in again."
            )
            raise PartnerCenterError(message) from None


def _configuration(file: IO[str] | None, flags: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the configuration from options, environment variables, the file and prompts."""
    config: dict[str, Any] = {"cloud": "global"} | (json_object(file) or {})
    config |= {name: os.environ[n] for name in NAMES if (n := PREFIX + name.upper()) in os.environ}
    config |= {name: text for name, text in flags.items() if text}
    for name in ("tenant_id", "client_id", "client_secret"):
        if config.get(name) or (name == "client_secret" and config.get("client_certificate_path")):
            continue
        title = CONFIG_JSONSCHEMA["properties"][name]["title"]
        try:
            config[name] = click.prompt(title, hide_input=name in _SECRETS).strip()
        except click.Abort:
            message = (
                f"{name} is missing: set {PREFIX}{name.upper()}, or put it in the --config file."
            )
            raise PartnerCenterError(message) from None
    if not config.get("token_cache_path"):
        default = DEFAULT_CACHE.expanduser()
        default.parent.mkdir(mode=0o700, exist_ok=True)
        config["token_cache_path"] = str(default)
    if wrong := problems(config, TapPartnerCenter.config_jsonschema):
        raise PartnerCenterError(" ".join(wrong))
    return config


def _who(claims: Claims | None) -> str:
    if claims is None:
        return ""
    user = f" as {claims.user}" if claims.user else ""
    tenant = f" of the tenant {claims.tenant}" if claims.tenant else ""
    return f"{user}{tenant}, {'with' if claims.mfa else 'without'} MFA"


def _page(claims: Claims | None) -> Page:
    following = (
        "Next: go back to the terminal, which tries each stream and shows the lines for your "
        "Meltano project. You can close this window."
    )
    paragraphs = [
        f"Signed in{_who(claims)}.",
        "The refresh token is stored where the tap finds it. Each run renews it for 90 days.",
        following,
    ]
    if claims is not None and claims.mfa is False:
        warning = "Partner Center refuses tokens without MFA: sign in again with MFA."
        return Page("Signed in, but without MFA", [warning, *paragraphs], failed=True)
    return Page("Signed in to Partner Center", paragraphs)


def _setup_commands(config: Mapping[str, Any]) -> list[str]:
    """Return the commands that configure the tap; secrets are left out."""
    properties = CONFIG_JSONSCHEMA["properties"]
    lines = []
    for name in NAMES:
        if name == "refresh_token" or config.get(name) in (
            None,
            "",
            properties[name].get("default"),
        ):
            continue
        # The URL of a database contains a password.
        secret = name in _SECRETS or (name == "token_cache_path" and "://" in config[name])
        value = "…" if secret else shlex.quote(str(config[name]))
        store = "--store=dotenv " if secret else ""
        lines.append(f"meltano config set {store}{_PLUGIN} {name} {value}")
    return [*lines, f"meltano invoke {_PLUGIN} --test"]
