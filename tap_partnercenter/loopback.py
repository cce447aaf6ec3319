"""The redirect URI of a sign-in: a server on this machine that accepts a single response."""

from __future__ import annotations

import os
import secrets
import threading
from concurrent.futures import Future
from contextlib import suppress
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

#: Seconds that a browser may be silent on a connection, and may take to load the last page.
_TIMEOUT = 10.0
_MAX_FORM_BYTES = 65_536

_STYLE = """\
body { font: 17px/1.55 system-ui, sans-serif; background: #f3f5f7; color: #1b1f24; margin: 0 }
main { max-width: 36rem; margin: 8vh auto; padding: 2rem 2.5rem; background: #fff;
       border-top: .4rem solid #1a7f37; border-radius: .4rem; box-shadow: 0 1px 8px #0002 }
main.failed { border-color: #cf222e }
h1 { font-size: 1.5rem; margin: 0 0 1rem }
code { background: #eef1f4; padding: .1rem .35rem; border-radius: .25rem }
"""


class Page(NamedTuple):
    """What the browser shows at the end."""

    title: str
    paragraphs: Sequence[str]
    failed: bool = False

    def html(self) -> str:
        """Return the page as HTML; backquotes mark commands."""
        paragraphs = "".join(f"<p>{_marked(text)}</p>" for text in self.paragraphs)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>"
            f'<body><main class="{"failed" if self.failed else ""}">'
            f"<h1>{escape(self.title)}</h1>{paragraphs}</main></body></html>"
        )


class Listener(ThreadingHTTPServer):
    """Waits on a loopback port for one sign-in to finish.

    Attributes:
        redirect_uri: The URI to register for the app.
        state: Of the sign-in; responses with another one are not used.
        unrelated_responses: Number of responses that belong to another sign-in.
    """

    daemon_threads = True
    # On Windows it would let two programs listen on one port.
    allow_reuse_address = os.name == "posix"

    def __init__(self, port: int) -> None:
        """Listen.

        Raises:
            OSError: If the port is taken.
        """
        super().__init__(("127.0.0.1", port), _Handler)
        self.redirect_uri = f"http://localhost:{self.server_port}"
        self.state = ""
        self.unrelated_responses = 0
        #: Set when the last page was sent.
        self.shown = threading.Event()
        self._lock = threading.Lock()
        self._response: Future[dict[str, str]] = Future()
        self._page: Future[Page] = Future()
        #: Path of the last page; reloading it does not resend the form.
        self._page_path = f"/{secrets.token_urlsafe(16)}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    @override
    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @override
    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def wait(self, seconds: float) -> dict[str, str] | None:
        """Return what the browser sent, None if nothing arrived in time."""
        try:
            return self._response.result(seconds)
        except TimeoutError:
            return None

    def show(self, page: Page) -> None:
        """Show how the sign-in ended, and wait until the browser has it."""
        self._page.set_result(page)
        self.shown.wait(_TIMEOUT)

    def answer(self, path: str, host: str, form: str | None) -> tuple[HTTPStatus, str, Page | None]:
        """Answer one request of a browser.

        Returns:
            The status, the location to redirect to, and the page to show.
        """
        # Another host name means a request from a foreign page (DNS rebinding).
        if host not in {f"localhost:{self.server_port}", f"127.0.0.1:{self.server_port}"}:
            return HTTPStatus.FORBIDDEN, "", None
        if path == self._page_path:
            with suppress(TimeoutError):
                return HTTPStatus.OK, "", self._page.result(_TIMEOUT * 6)
        fields = {name: values[0] for name, values in parse_qs(form or "").items()}
        if path != "/" or not {"code", "error"} & fields.keys():
            return HTTPStatus.NOT_FOUND, "", None
        with self._lock:
            is_ours = secrets.compare_digest(fields.get("state", "").encode(), self.state.encode())
            if self._response.done() or not is_ours:
                self.unrelated_responses += 1
                text = "This response belongs to another sign-in and was not used."
                more = "Go back to the terminal and use the URL shown there."
                return HTTPStatus.BAD_REQUEST, "", Page("Not signed in", [text, more], failed=True)
            self._response.set_result(fields)
        return HTTPStatus.SEE_OTHER, self._page_path, None


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    timeout = _TIMEOUT

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() else 0
        self._answer(self.rfile.read(min(size, _MAX_FORM_BYTES)).decode("utf-8", "replace"))

    def _answer(self, form: str | None) -> None:
        host = self.headers.get("Host", "")
        status, location, page = self.server.answer(self.path, host, form)
        body = b"" if page is None else page.html().encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(body)
        if status is HTTPStatus.OK:
            self.server.shown.set()

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a request could contain a code."""


def _marked(text: str) -> str:
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
