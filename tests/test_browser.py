"""The login in a real browser. Without one, the end of the test run says so.

Run `pytest tests/test_browser.py --update-golden` to retake the picture in the documentation.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.command_line import run_tap
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partnercenter_emulator import Emulator
    from tests.conftest import Start

PICTURE = Path(__file__).parent.parent / "docs" / "login.png"
SECONDS = 30
pytestmark = pytest.mark.e2e


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "profile"


@pytest.fixture
def browser(profile: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    # For root, and for containers with little shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={profile}")
    options.add_argument("--window-size=900,640")
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    yield driver
    driver.quit()


@dataclass
class Command:
    """The running command, and the address that it wants opened."""

    process: subprocess.Popen[str]
    address: str
    config: Path

    def end(self) -> tuple[int, str]:
        """Wait for its end; return exit code and all output."""
        said, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, said + errors


@contextmanager
def signing_in(emulator: Emulator, folder: Path, timeout: int = SECONDS) -> Iterator[Command]:
    config = emulator.tap_config(app_only=True) | {"token_cache_path": str(folder / "tokens")}
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    module = "from tap_partnercenter.login import main; main()"
    options = ["--config", str(path), "--port", "0", "--no-browser", "--timeout", str(timeout)]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", module, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = next(line.strip() for line in process.stdout if line.startswith("  http"))
            yield Command(process, address, path)
        finally:
            process.kill()


def press(browser: webdriver.Chrome, answer: str, title: str) -> str:
    """Press a button of the sign-in page; return the text of the final page."""
    browser.find_element(By.CSS_SELECTOR, f"button[value={answer}]").click()
    WebDriverWait(browser, SECONDS).until(lambda driver: driver.title == title)
    return browser.find_element(By.TAG_NAME, "main").text


def history(profile: Path) -> list[str]:
    """The addresses in the browser's history."""
    (path,) = profile.glob("*/History")
    with sqlite3.connect(path) as database:
        return [row[0] for row in database.execute("select url from urls")]


def test_consent_in_a_browser(
    start: Start,
    browser: webdriver.Chrome,
    profile: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """From the address to a working tap; no code stays in history, address bar or process list."""
    emulator = start(revoke_old_refresh_tokens=True)
    with signing_in(emulator, tmp_path) as command:
        browser.get(command.address)
        assert "user_impersonation" in browser.page_source
        running = psutil.Process(command.process.pid)
        assert emulator.credentials.client_secret not in " ".join(running.cmdline())
        text = press(browser, "accept", "Signed in to Partner Center")
        assert "Signed in as ada.admin@" in text
        assert "with MFA" in text
        assert re.fullmatch(r"http://localhost:\d+/[\w-]{20,}", browser.current_url)
        if request.config.getoption("--update-golden"):
            browser.save_screenshot(str(PICTURE))
        code, said = command.end()
        assert code == 0, said
        assert "customers               reachable, 7 rows on the first page" in said
    browser.quit()
    addresses = history(profile)
    assert any("/authorize" in address for address in addresses)
    assert not [address for address in addresses if re.search(r"[?&]code=", address)]
    config = json.loads(command.config.read_text())
    assert_complete(run_tap(config=config), emulator)
    assert PICTURE.stat().st_size > 5_000


def test_a_refusal_in_a_browser(start: Start, browser: webdriver.Chrome, tmp_path: Path) -> None:
    with signing_in(start(), tmp_path) as command:
        browser.get(command.address)
        text = press(browser, "refuse", "Not signed in")
        assert "The user declined." in text
        code, said = command.end()
        assert code == 1
        assert "The user declined." in said


def test_a_sign_in_with_a_wrong_state_in_a_browser(
    start: Start, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    """The page says that the answer belongs to another sign-in; the right one is still accepted."""
    with signing_in(start(), tmp_path) as command:
        browser.get(command.address.replace("&state=", "&state=another"))
        text = press(browser, "accept", "Not signed in")
        assert "belongs to another sign-in and was not used" in text
        browser.get(command.address)
        press(browser, "accept", "Signed in to Partner Center")
        assert command.end()[0] == 0


def test_a_closed_window_of_a_browser(
    start: Start, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    with signing_in(start(), tmp_path, timeout=3) as command:
        browser.get(command.address)
        browser.quit()
        code, said = command.end()
        assert code == 1
        assert "no response from the browser within 3 s" in said
