"""The console in Chromium: by keyboard alone, in both languages, live counts, nothing loaded from outside, no script errors."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from hub.web.app import WebHub, create_app
from tests import web_kit
from tests.web_kit import HONG

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    expect.set_options(timeout=20_000)  # the first page of an application that was just made, on a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[WebHub, str]]:
    """A hub on fakes behind a real server."""
    engine = web_kit.engine_for(f"sqlite:///{tmp_path / 'hub.db'}")
    web_kit.fill(engine)
    hub = web_kit.make_hub(engine)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app(hub), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.05)
    yield hub, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    engine.dispose()


@pytest.fixture
def page(chromium: Browser, served: tuple[WebHub, str], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A logged-in page; fails the test on a script error or a request to anywhere else."""
    hub, base = served
    context = chromium.new_context(
        locale=getattr(request, "param", "en-US"), base_url=base, viewport={"width": 1280, "height": 860}
    )
    made = context.new_page()
    made.set_default_timeout(10_000)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    made.on("request", lambda one: wrong.append(one.url) if not one.url.startswith(base) else None)
    made.goto("/login")
    made.keyboard.type(web_kit.token_for(hub, "admin", "kim"))  # the field has the focus already
    made.keyboard.press("Enter")
    made.wait_for_url("**/")
    yield made
    context.close()
    assert wrong == []


def test_by_keyboard_from_log_in_to_replay(page: Page, served: tuple[WebHub, str]) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("m")
    page.wait_for_url("**/messages")
    page.keyboard.press("/")
    page.keyboard.type("00012345")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_have_count(7)
    assert "00012345" not in page.url
    for _ in range(6):
        page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("tr.here a").first).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/messages/2")
    expect(page.get_by_text("PID-7: not a date")).to_be_visible()
    page.locator('form[action="/messages/2/replay"] input[name="reason"]').focus()
    page.keyboard.type("map corrected")
    page.keyboard.press("Enter")
    page.wait_for_url("**/messages/2?done=1")
    expect(page.locator(".head .state")).to_have_text("Queued")
    operations: Any = served[0].operations
    assert operations.calls == [("replay", 2, "map corrected", "token:kim")]


def test_counts_are_live(page: Page, served: tuple[WebHub, str]) -> None:
    cell = page.locator('tr[data-channel="ocs-in"] [data-n="dead"]')
    expect(cell).to_have_text("1")
    with served[0].write_engine.begin() as conn:
        web_kit.add_message(conn, 800, "ocs-in", "in", "ADT^A08", state="dead", lane="HOSP|9")
    expect(cell).to_have_text("2", timeout=6_000)
    served[0].operations.pause("crm-out", reason="test", actor="test")
    expect(page.locator('tr[data-channel="crm-out"] [data-health]')).to_have_text("Paused", timeout=6_000)


@pytest.mark.parametrize("page", ["ko-KR", "en-US"], indirect=True)
def test_every_page_fits_and_names_its_language(page: Page) -> None:
    for path in (
        "/",
        "/channels/ocs-in",
        "/messages",
        "/messages/1",
        "/messages/8",
        "/patients",
        f"/patients/{HONG}",
        "/audit",
        "/docs",
    ):
        page.goto(path)
        expect(page.locator("h1").first).to_be_visible()
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 860})
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, button')]"
            ".filter(e => !(e.labels?.length || e.textContent.trim() || e.getAttribute('aria-label'))).length"
        )
        assert unnamed == 0, path


def test_the_documentation_shows_every_call(page: Page) -> None:
    page.goto("/docs")
    expect(page.locator("#post-api-v1-patients-search")).to_be_visible()
    schema = page.request.get("/api/v1/openapi.json").json()
    expect(page.locator(".call")).to_have_count(sum(len(item) for item in schema["paths"].values()))


def test_help_and_language(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("dialog#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog#help")).to_be_hidden()
    page.get_by_text("한국어").click()
    expect(page.locator("h1")).to_have_text("채널")
