"""A browser without a screen: it follows the pages of a sign-in over HTTP."""

from __future__ import annotations

import threading
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import click
import requests

from tests.command_line import QuickClock

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Form(HTMLParser):
    """The form of a page, with its prefilled values."""

    def __init__(self, page: requests.Response) -> None:
        super().__init__()
        self.action = page.url
        self.fields: dict[str, str] = {}
        self.feed(page.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.action = found.get("action", self.action)
        if tag == "input" and ("checked" in found or found.get("type") != "checkbox"):
            self.fields[found["name"]] = found.get("value", "on")


class Browser:
    """Open addresses as `webbrowser.open` does, and answer the page as configured."""

    def __init__(self, **choice: str | None) -> None:
        self.choice: dict[str, str | None] = {"answer": "accept", "account": "ada.admin"}
        self.choice |= choice
        self.opened: list[str] = []
        self.pages: list[requests.Response] = []
        #: Called with the form that leads back to the app; if it returns False, nothing is sent.
        self.back: Callable[[Form], bool] = lambda _: True
        self._thread: threading.Thread | None = None

    def open(self, address: str) -> bool:
        self.opened.append(address)
        self._thread = threading.Thread(target=self._browse, args=[address])
        self._thread.start()
        return True

    def answer(self, session: requests.Session, page: requests.Response) -> requests.Response:
        form = Form(page)
        fields = form.fields | self.choice
        chosen = {name: text for name, text in fields.items() if text is not None}
        return session.post(form.action, data=chosen, timeout=10)

    def _browse(self, address: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            form = Form(self.answer(session, session.get(address, timeout=10)))
            if self.back(form):
                self.pages.append(session.post(form.action, data=form.fields, timeout=10))

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join(10)


def device(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the user of a device code open the page that the command shows while it waits."""
    wait = QuickClock.wait

    def answers(clock: QuickClock, seconds: float) -> None:
        wait(clock, seconds)
        if browser.choice.get("user_code"):
            with requests.Session() as session:
                page = session.get(browser.opened[-1], timeout=10)
                browser.pages.append(browser.answer(session, page))
            browser.choice["user_code"] = None

    def echo(message: str) -> None:
        words = message.split()
        if message.startswith("Open http"):
            browser.opened.append(words[1])
        elif len(words) == 1 and message.startswith("\n"):
            browser.choice["user_code"] = words[0]

    monkeypatch.setattr(QuickClock, "wait", answers)
    say = click.echo

    def both(message: str = "", **options: Any) -> None:
        echo(message)
        say(message, **options)

    monkeypatch.setattr("click.echo", both)
