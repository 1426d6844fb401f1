"""Every page in a browser: nothing from another host, no error, nothing wider than the window."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.book.conftest import SITE, pages

pytestmark = pytest.mark.site

WIDTHS = {"desktop": 1280, "phone": 390, "small phone": 360}

# What sticks out of the window to the right, and is not in a box that scrolls or clips.
STICKS_OUT = """() => {
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  const out = [...document.querySelectorAll('main *')].filter(e => {
    const box = e.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || box.right <= window.innerWidth + 1) return false;
    if (getComputedStyle(e).visibility === 'hidden' || e.closest('[class*=bd-sidebar]')) return false;
    for (let p = e.parentElement; p && p.tagName !== 'ARTICLE'; p = p.parentElement)
      if (/auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX)) return false;
    return true;
  }).map(e => e.outerHTML.slice(0, 120));
  return out.length ? out : wide ? ['the page itself'] : [];
}"""


class Visit:
    """A page that keeps account of what it asks for and what goes wrong."""

    def __init__(self, browser, origins):
        self.own = (*origins.values(), "data:", "blob:")
        self.begin()
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)  # other work may fill the machine
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))

    def begin(self):
        self.elsewhere: list[str] = []
        self.errors: list[str] = []

    def _request(self, request):
        if not request.url.startswith(self.own):
            self.elsewhere.append(request.url)

    def _response(self, response):
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")

    def _failed(self, request):
        if request.failure != "net::ERR_ABORTED":  # the window went on to the next page
            self.errors.append(f"{request.failure}: {request.url}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.context.close()

    def check(self):
        assert not self.elsewhere
        assert not self.errors


@pytest.fixture(scope="session")
def window(browser, origins):
    """One window for all pages: what they share is read once."""
    with Visit(browser, origins) as visit:
        yield visit


def looks(path):
    """The themes and widths to try a page with. The pages of the model's source differ in nothing but text: one of each
    will do, and one way to open them."""
    every = list(itertools.product(("light", "dark"), WIDTHS.items()))
    return every[-1:] if path.startswith("model/") else every


@pytest.mark.parametrize("path", pages())
def test_page(window, origins, path):
    page = window.page
    for way in ("file",) if path.startswith("model/") else ("http", "file"):
        window.begin()
        page.goto(f"{origins[way]}/{path}", wait_until="load")
        if path == "index.html":  # the front door leads on
            page.wait_for_url("**/book/index.html")
        window.check()
    for scheme, (name, width) in looks(path):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(STICKS_OUT) == [], f"too wide for a {name}, {scheme}"
    window.check()


def luminance(color):
    red, green, blue = (int(float(c)) for c in re.findall(r"[\d.]+", color)[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_the_reader_can_choose_the_dark_theme(browser, origins):
    with Visit(browser, origins) as visit:
        page = visit.page
        page.emulate_media(color_scheme="light")
        page.goto(f"{origins['file']}/book/index.html")
        background = "getComputedStyle(document.body).backgroundColor"
        assert luminance(page.evaluate(background)) > 0.9
        for _ in range(3):
            if page.evaluate("document.documentElement.dataset.mode") == "dark":
                break
            page.locator(".theme-switch-button").first.click()
        assert luminance(page.evaluate(background)) < 0.2
        page.goto(f"{origins['file']}/book/source-notes.html")
        assert luminance(page.evaluate(background)) < 0.2, "the choice does not last"
        visit.check()


@pytest.mark.parametrize("way", ["file", "http"])
@pytest.mark.parametrize("words", ["queue", "blk_mq_alloc_tag_set", "软件队列"])
def test_search_finds(browser, origins, way, words):
    with Visit(browser, origins) as visit:
        page = visit.page
        page.goto(f"{origins[way]}/search.html?q={words}")
        page.wait_for_selector("#search-results li a", timeout=60_000)
        page.wait_for_load_state("networkidle")
        visit.check()


def test_the_menu_of_a_phone_covers_the_page(browser, origins):
    with Visit(browser, origins) as visit:
        page = visit.page
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{origins['file']}/book/index.html")
        page.locator(".primary-toggle").first.click()
        page.locator("#pst-primary-sidebar-modal").get_by_text("The source notes").wait_for(state="visible")
        menu = "document.querySelector('#pst-primary-sidebar-modal')"
        background = page.evaluate(f"getComputedStyle({menu}).backgroundColor")
        assert not re.search(r"rgba\(.*, 0(\.\d+)?\)|transparent", background), background
        visit.check()


def test_chinese_has_a_font(browser, origins):
    with Visit(browser, origins) as visit:
        visit.page.goto(f"{origins['file']}/book/source-notes.html")
        assert visit.page.locator('[lang="zh"]').count()
        family = visit.page.evaluate("getComputedStyle(document.querySelector('[lang=zh]')).fontFamily")
        assert "CJK" in family


def test_solutions_are_folded_until_asked_for(browser, origins, site):
    folded = [p for p in pages() if "toggle" in (text := (site / p).read_text("utf8")) and "solution" in text]
    assert folded, "no exercise has a solution"
    with Visit(browser, origins) as visit:
        for path in folded:
            visit.page.goto(f"{origins['file']}/{path}")
            for solution in visit.page.locator("div.solution.dropdown").all():
                content = solution.locator("section, .section, p:not(.admonition-title)").first
                assert not content.is_visible()
                solution.locator("button.toggle-button").click()
                content.wait_for(state="visible", timeout=60_000)
        visit.check()


@pytest.mark.screenshots
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("path", [p for p in pages() if p.startswith("book/")])
def test_screenshots(browser, origins, path, device, scheme):
    shots = SITE.parent / "screenshots"
    shots.mkdir(exist_ok=True)
    with Visit(browser, origins) as visit:
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.set_viewport_size({"width": WIDTHS[device], "height": 900 if device == "desktop" else 844})
        visit.page.goto(f"{origins['file']}/{path}")
        visit.page.wait_for_load_state("networkidle")
        name = path.removeprefix("book/").removesuffix(".html").replace("/", "-")
        visit.page.screenshot(path=shots / f"{name}-{device}-{scheme}.png", full_page=True)
