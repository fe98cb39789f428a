"""The console in headless Chromium, over the real application."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.test_schema import Served
from tests.integration.api.world import PASSWORD
from tests.servers.needed import needed

selenium = pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BOSS, ANNA = "boss@ours.test", "anna@ours.test"


def patiently(browser: Any) -> Any:
    """Waits for something, also while one page takes the place of another."""
    return WebDriverWait(browser, 30, ignored_exceptions=[StaleElementReferenceException])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    running = Served(folder, f"sqlite:///{folder}/holub.db")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    chromium, driver = needed("chromium"), needed("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-background-networking",
        f"user-data-dir={tmp_path}/profile",
    ):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    opened.set_page_load_timeout(60)
    yield opened
    complaints = [
        e["message"]
        for e in opened.get_log("browser")
        if "Content Security Policy" in e["message"] or "Uncaught" in e["message"]
    ]
    opened.quit()
    assert complaints == []


def visit(browser: Any, served: Served, path: str) -> None:
    browser.get(f"http://127.0.0.1:{served.port}{path}")


def log_in(browser: Any, served: Served, address: str, password: str = PASSWORD) -> None:
    visit(browser, served, "/login")
    browser.find_element(By.NAME, "address").send_keys(address)
    browser.find_element(By.NAME, "password").send_keys(password + Keys.ENTER)
    patiently(browser).until(lambda b: b.find_elements(By.CSS_SELECTOR, "header nav"))


def text(browser: Any) -> str:
    return str(browser.find_element(By.TAG_NAME, "main").text)


def shoot(browser: Any, name: str) -> None:
    """Kept for a look when HOLUB_SCREENSHOTS names a folder."""
    if folder := os.environ.get("HOLUB_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_an_administrator_sees_his_tenant_on_every_page(browser: Any, served: Served) -> None:
    log_in(browser, served, BOSS)
    shoot(browser, "overview")
    links = [a.get_attribute("href") for a in browser.find_elements(By.CSS_SELECTOR, "nav a")]

    assert len(links) == 8
    for link in links:
        browser.get(link)
        shoot(browser, link.rstrip("/").rsplit("/", 1)[-1].replace(":", "_"))
        assert browser.find_element(By.TAG_NAME, "h1").text
        assert "theirs" not in browser.page_source
        current = browser.find_elements(By.CSS_SELECTOR, "nav a[aria-current=page]")
        assert len(current) == 1


def test_a_message_is_found_while_typing_and_its_way_is_told(browser: Any, served: Served) -> None:
    log_in(browser, served, BOSS)
    visit(browser, served, "/trace")
    field = browser.find_element(By.NAME, "q")

    field.send_keys("nothing like this")
    patiently(browser).until(lambda b: "0 messages" in text(b))
    field.clear()
    field.send_keys(ANNA)
    patiently(browser).until(lambda b: "1 message" in text(b))
    shoot(browser, "trace-found")
    browser.find_element(By.CSS_SELECTOR, "#found tbody a").click()

    patiently(browser).until(lambda b: "Timeline" in text(b))
    shoot(browser, "story")
    assert "It is held in quarantine" in text(browser)
    assert "accepted" in text(browser)


def test_the_keyboard_is_enough(browser: Any, served: Served) -> None:
    """Tab to the skip link, past it through the menu, and Enter opens a page."""
    log_in(browser, served, BOSS)
    body = browser.find_element(By.TAG_NAME, "body")
    seen = []
    for _ in range(4):
        body.send_keys(Keys.TAB)
        body = browser.switch_to.active_element
        seen.append(body.text)

    assert seen == ["Skip to the content", "Overview", "Trace", "Quarantine"]
    body.send_keys(Keys.ENTER)
    patiently(browser).until(lambda b: b.current_url.endswith("/quarantine"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(browser: Any, served: Served, scheme: str) -> None:
    """Contrast of at least 4.5 (WCAG 2.2 §1.4.3) for text, links and states."""
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    log_in(browser, served, BOSS)
    shoot(browser, f"scheme-{scheme}")
    ratios = browser.execute_script(
        """
        const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const back = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (!c.startsWith('rgba(0, 0, 0, 0')) return c; } return 'rgb(255,255,255)'; };
        return [...document.querySelectorAll('h1, td, th, a:not(.skip), .state, button')].map(e => {
            const [x, y] = [light(getComputedStyle(e).color), light(back(e))].sort((a, b) => b - a);
            return (x + 0.05) / (y + 0.05); });
        """
    )

    assert len(ratios) > 10
    assert min(ratios) >= 4.5


def test_mail_that_waits_is_held_released_and_given_up(browser: Any, served: Served) -> None:
    log_in(browser, served, BOSS)
    visit(browser, served, "/waiting?domain=elsewhere.example")
    shoot(browser, "waiting")
    first = "x0@elsewhere.example"
    assert first in text(browser)

    def button(label: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, f"button[aria-label='{label}']")

    # Each time until something is there that only the next page has: a page that is being
    # loaded has nothing at all, and a button is pressed once.
    button(f"Hold mail to {first}").click()
    patiently(browser).until(lambda b: f"by {BOSS}" in text(b))
    patiently(browser).until(lambda b: button(f"Release mail to {first}")).click()
    patiently(browser).until(lambda b: button(f"Hold mail to {first}"))
    patiently(browser).until(lambda b: button(f"Give up mail to {first} without a word")).click()
    second = "x1@elsewhere.example"
    patiently(browser).until(lambda b: second in text(b) and first not in text(b))


def test_a_device_gets_a_password_that_is_shown_once_and_taken_back(
    browser: Any, served: Served
) -> None:
    log_in(browser, served, BOSS)
    visit(browser, served, "/me/devices")
    browser.find_element(By.NAME, "name").send_keys("telephone")
    browser.find_element(By.NAME, "pop3").click()
    shoot(browser, "devices")
    browser.find_element(By.CSS_SELECTOR, "form.card button").click()
    patiently(browser).until(lambda b: "Add a device" in text(b) and "shown only now" in text(b))
    shoot(browser, "devices-made")
    secret = browser.find_element(By.TAG_NAME, "code").text
    assert len(secret) > 12
    assert "imap, smtp, sieve" in text(browser)

    visit(browser, served, "/me/devices")
    assert secret not in browser.page_source
    browser.find_element(By.CSS_SELECTOR, "button[aria-label='Revoke telephone']").click()
    patiently(browser).until(lambda b: "There are none yet" in text(b))


def test_an_owner_changes_the_password_and_sees_only_his_own(browser: Any, served: Served) -> None:
    log_in(browser, served, ANNA)
    menu = browser.find_element(By.TAG_NAME, "nav").text.split("\n")
    assert menu == ["Overview", "Trace", "Quarantine", "My account"]
    visit(browser, served, "/accounts")
    assert "needs accounts:read" in text(browser)

    visit(browser, served, "/me")
    for name, value in (("current", "wrong"), ("new", "brand new one"), ("again", "brand new one")):
        browser.find_element(By.NAME, name).send_keys(value)
    browser.find_element(By.CSS_SELECTOR, "main form button").click()
    patiently(browser).until(lambda b: "not your current password" in text(b))
    for name, value in (
        ("current", PASSWORD),
        ("new", "brand new one"),
        ("again", "brand new one"),
    ):
        browser.find_element(By.NAME, name).send_keys(value)
    browser.find_element(By.CSS_SELECTOR, "main form button").click()
    patiently(browser).until(lambda b: b.current_url.endswith("/login"))
    log_in(browser, served, ANNA, "brand new one")


def test_no_page_without_a_session_and_no_form_from_elsewhere(served: Served) -> None:
    base = f"http://127.0.0.1:{served.port}"
    opener = urllib.request.build_opener(_Stay)
    for path in ("/", "/trace", "/accounts", "/queues", "/audit", "/me"):
        with pytest.raises(urllib.error.HTTPError) as error:
            opener.open(base + path)
        assert (error.value.code, error.value.headers["location"]) == (303, "/login")

    form = f"address={BOSS}&password={PASSWORD}".encode()
    for headers in ({}, {"Origin": "http://evil.example"}):
        with pytest.raises(urllib.error.HTTPError) as error:
            opener.open(urllib.request.Request(f"{base}/login", form, headers))
        assert error.value.code == 403


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def test_pages_forbid_inline_scripts_and_frames(served: Served) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/login") as answer:
        policy = answer.headers["content-security-policy"]
        page = answer.read().decode()

    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "style=" not in page
    assert "onclick" not in page


def test_guessing_passwords_is_slowed_down(served: Served) -> None:
    base = f"http://127.0.0.1:{served.port}"
    codes = []
    for n in range(11):
        form = f"address=nobody@ours.test&password=wrong{n}".encode()
        request = urllib.request.Request(f"{base}/login", form, {"Origin": base})
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            codes.append(error.code)

    assert codes == [401] * 10 + [429]
