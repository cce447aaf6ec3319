"""The pages and endpoints where a user signs in, consents or refuses."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from .credentials import ACCOUNTS, Consent
from .entra import check_tenant, form_of, required
from .errors import entra_error
from .grants import DEVICE_CODE_LIFETIME, AuthorizationRequest
from .responses import ApiError, Response, json_response

if TYPE_CHECKING:
    from .calls import Call
    from .credentials import Credentials
    from .grants import DeviceSignIn, Grants
    from .options import Options

LOOPBACK = ("localhost", "127.0.0.1")
"""Hosts at which the app may receive the response, on any port (RFC 8252, 7.3)."""
HTML = b"text/html; charset=utf-8"

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; background: #eef1f5; color: #1b1f24; margin: 0 }
main { max-width: 26rem; margin: 4rem auto; padding: 2rem 2.5rem; background: #fff;
       border-radius: .5rem; box-shadow: 0 1px 6px #0003 }
h1 { font-size: 1.4rem; margin-top: 0 }
select, input[name=user_code] { font: inherit; width: 100%; padding: .3rem; box-sizing: border-box }
button { font: inherit; padding: .4rem 1.4rem; margin: 1rem .5rem 0 0; cursor: pointer }
small { color: #57606a }
"""


class SignInPages:
    """The interactive part of one emulated tenant."""

    def __init__(self, credentials: Credentials, grants: Grants) -> None:
        self._credentials = credentials
        self._grants = grants

    def respond(self, call: Call, options: Options) -> Response:
        """Respond to a request for one of these pages or endpoints.

        Raises:
            ApiError: The request is refused, with a page or in the shape of Entra.
        """
        if call.place == "devicelogin":
            return self._device_page(call)
        check_tenant(call, self._credentials)
        if call.place == "devicecode":
            return self._begin_device(call, options)
        return self._authorize(call)

    def _authorize(self, call: Call) -> Response:
        """Show what an app requests, and send the user's decision back to it."""
        query = {
            name: values[0]
            for name, values in parse_qs(call.query.decode("utf-8", "replace")).items()
        }
        try:
            asked = self._asked(query)
        except ApiError as error:
            text = msgspec.json.decode(error.response.body)["error_description"]
            return _page("Sign-in is not possible", f"<p>{escape(text)}</p>")
        state = {"state": query["state"]} if "state" in query else {}
        if call.method != "POST":
            return _page("Sign in", _consent_form(asked.scope))
        consent = _consent(form_of(call))
        if consent is None:
            response = {
                "error": "access_denied",
                "error_description": "AADSTS65004: User declined to consent to access the app.",
            }
        else:
            response = {"code": self._grants.issue_code(asked, consent)}
        if query.get("response_mode") == "form_post":
            return _page("Working...", _return_form(asked.redirect_uri, response | state))
        location = f"{asked.redirect_uri}?{urlencode(response | state)}"
        return Response(302, headers=[(b"location", location.encode())], content_type=None)

    def _asked(self, query: dict[str, str]) -> AuthorizationRequest:
        self._check_client(required(query, "client_id"))
        redirect_uri = required(query, "redirect_uri")
        parts = urlsplit(redirect_uri)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK:
            text = "The redirect URI in the request does not match those of the application."
            raise ApiError(entra_error(400, 50011, text))
        if required(query, "response_type") != "code":
            text = "Only the response type 'code' is enabled."
            raise ApiError(entra_error(400, 700054, text))
        scope = required(query, "scope")
        return AuthorizationRequest(
            redirect_uri, scope, query.get("code_challenge"), query.get("nonce")
        )

    def _begin_device(self, call: Call, options: Options) -> Response:
        if call.method != "POST":
            text = "The endpoint only accepts POST requests."
            raise ApiError(entra_error(405, 900561, text))
        form = form_of(call)
        self._check_client(required(form, "client_id"))
        sign_in = self._grants.begin_device(required(form, "scope"))
        address = f"http://{call.header(b'host')}/common/oauth2/deviceauth"
        return json_response(
            {
                "user_code": sign_in.user_code,
                "device_code": sign_in.device_code,
                "verification_uri": address,
                "expires_in": DEVICE_CODE_LIFETIME,
                "interval": options.device_interval,
                "message": (
                    f"To sign in, use a web browser to open the page {address} and enter the code "
                    f"{sign_in.user_code} to authenticate."
                ),
            }
        )

    def _device_page(self, call: Call) -> Response:
        """Ask for the code shown by a machine without a browser, and for a decision."""
        if call.method != "POST":
            return _page("Enter code", _consent_form(None))
        form = form_of(call)
        sign_in: DeviceSignIn | None = self._grants.device(form.get("user_code", ""))
        if sign_in is None:
            return _page("That code did not work", _consent_form(None))
        consent = _consent(form)
        sign_in.answer = "refused" if consent is None else replace(consent, public=True)
        message = "You declined." if consent is None else "You have signed in on your device."
        return _page(message, "<p>You may close this window.</p>")

    def _check_client(self, client_id: str) -> None:
        if client_id.lower() != self._credentials.client_id.lower():
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise ApiError(entra_error(400, 700016, text))


def _consent(form: dict[str, str]) -> Consent | None:
    """Read the user's choice; None is a refusal."""
    if form.get("answer") != "accept":
        return None
    account = next((a for a in ACCOUNTS if a.name == form.get("account")), ACCOUNTS[0])
    return Consent(account, mfa=form.get("mfa") == "on")


def _consent_form(scope: str | None) -> str:
    accounts = "".join(
        f'<option value="{account.name}">{escape(account.display_name)}</option>'
        for account in ACCOUNTS
    )
    asked = "".join(f"<li>{escape(name)}</li>" for name in (scope or "").split())
    return f"""
<form method="post">
  {"" if scope else '<p><label>Code <input name="user_code" autocomplete="off"></label></p>'}
  <p><label>Account <select name="account">{accounts}</select></label></p>
  <p><label><input type="checkbox" name="mfa" checked> With a second factor (MFA)</label></p>
  {f"<p>The app asks for:</p><ul>{asked}</ul>" if scope else ""}
  <button name="answer" value="accept">Accept</button>
  <button name="answer" value="refuse">Cancel</button>
</form>"""


def _return_form(address: str, response: dict[str, str]) -> str:
    """Redirect with a form, so that no URL contains a code."""
    fields = "".join(
        f'<input type="hidden" name="{name}" value="{escape(text)}">'
        for name, text in response.items()
    )
    return f"""
<form method="post" action="{escape(address)}">{fields}<button>Continue</button></form>
<script>document.forms[0].submit()</script>"""


def _page(title: str, content: str) -> Response:
    text = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><main>
<h1>{escape(title)}</h1>{content}
<p><small>Emulated sign-in: nobody's account, and no password.</small></p>
</main></body>
</html>
"""
    return Response(200, text.encode(), content_type=HTML)
