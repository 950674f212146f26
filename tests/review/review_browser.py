"""A real Chromium, and the page served by uvicorn on loopback from a thread of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from review_world import NOTE, PASSWORD
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait
from starlette.applications import Starlette

from lianlian_async.review import serve_reviews

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--no-proxy-server", "--accept-lang=en",
)  # fmt: skip
NO_JAVASCRIPT = {"profile.managed_default_content_settings.javascript": 2}


def chromium() -> tuple[str, str]:
    """Where browser and driver are. Without them the test is skipped, and in CI it fails."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    reason = "chromium and chromedriver are not installed: apt-get install chromium chromium-driver"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serve `app` until the block ends; gives the address."""
    loop = asyncio.new_event_loop()
    stop, ready, told = asyncio.Event(), threading.Event(), []

    def tell(url: str) -> None:
        told.append(url)
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve_reviews(app, host="127.0.0.1", port=0, stop=stop, ready=tell))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run, name="uvicorn")
    thread.start()
    try:
        assert ready.wait(10)
        yield told[0].rstrip("/")
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


class Window:
    """A browser with a profile of its own, as a person uses it."""

    def __init__(self, base: str, profile: Path, *, javascript: bool = True) -> None:
        browser, driver = chromium()
        options = ChromeOptions()
        options.binary_location = browser
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        if not javascript:
            options.add_experimental_option("prefs", NO_JAVASCRIPT)
        self.base = base
        self.driver = Chrome(options=options, service=Service(driver))
        self.driver.set_page_load_timeout(20)

    def open(self, path: str = "/") -> None:
        self.driver.get(self.base + path)

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.base)

    @property
    def text(self) -> str:
        return self.one("body").text

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def has(self, selector: str) -> bool:
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    @contextmanager
    def next_page(self) -> Iterator[None]:
        """What happens inside leads to another page; this waits for it."""
        before = self.one("html")
        yield
        WebDriverWait(self.driver, 20, poll_frequency=0.02).until(staleness_of(before))

    def press(self, what: str | WebElement) -> None:
        """Click on something that leads to another page."""
        with self.next_page():
            (self.one(what) if isinstance(what, str) else what).click()

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        """As somebody who was signed out, or never in."""
        self.driver.delete_all_cookies()
        self.open("/sign-in")
        self.one("[name=name]").send_keys(name)
        self.one("[name=password]").send_keys(password)
        self.press("main button")

    def fill(self, which: str) -> WebElement:
        """Fill in the form of the payout that is open; gives its button."""
        self.one(f"#{which}-note").send_keys(NOTE)
        if which == "approve":
            self.one("[name=checked]").click()
        return self.one(f"form[action$='/{which}'] button")

    def width(self, pixels: int) -> None:
        size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def complaints(self) -> list[str]:
        """What the browser itself found wrong since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def close(self) -> None:
        self.driver.quit()


# The lowest contrast of any text on the page, text fields without a label, and how much is wider than the screen.
INSPECTION = """
const parse = colour => colour.match(/[0-9.]+/g).map(Number);
const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ground = element => {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const texts = [...document.body.querySelectorAll('*')].filter(
  e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()));
const contrasts = texts.map(e => {
  const pair = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
  return [(pair[0] + 0.05) / (pair[1] + 0.05), e.outerHTML.slice(0, 80)];
}).sort((a, b) => a[0] - b[0]);
const fields = [...document.querySelectorAll('input:not([type=hidden]), textarea')];
return {
  contrast: contrasts[0],
  unlabelled: fields.filter(e => !e.labels.length).map(e => e.outerHTML),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  language: document.documentElement.lang,
};
"""
