"""Every page in a browser: nothing from another host, no error, nothing wider than the window. The web server has the
strict policy that the README gives."""

from __future__ import annotations

import functools
import gzip
import re
from urllib.parse import unquote

import pytest

from tests.book.conftest import SITE, Visit, visited
from tests.book.live import figures

pytestmark = pytest.mark.site

WIDTHS = {"desktop": 1280, "phone": 390, "small phone": 360}
HEAVIEST = 700_000  # bytes of a page before a figure is touched
LOOKS = [("light", "desktop"), ("dark", "phone"), ("light", "small phone")]  # a theme changes colours alone

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


@functools.cache
def compressed(path):
    """How many bytes a server sends for a file that it compresses, where that helps."""
    content = path.read_bytes()
    return min(len(content), len(gzip.compress(content)))


def weight(asked, origin):
    """How many bytes a page takes, compressed: itself and all that it asked for."""
    return sum(compressed(SITE / unquote(url.removeprefix(f"{origin}/"))) for url in asked if url.startswith(origin))


@pytest.mark.parametrize("path", visited())
def test_page(window, origins, path):
    page = window.page
    for way in ("http", "file"):
        window.begin()
        page.goto(f"{origins[way]}/{path}", wait_until="load")
        if path == "index.html":  # the front door leads on
            page.wait_for_url("**/book/index.html")
        if way == "http":
            assert weight(window.asked, origins["http"]) < HEAVIEST
            for figure in figures(page.evaluate)[:1]:
                figure.check(**dict([next(figure.moves())]))
        window.check()
    for scheme, name in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": WIDTHS[name], "height": 900})
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


# Whether what is in a solution can be seen, before and after its button was pressed.
UNFOLD = """() => [...document.querySelectorAll('div.solution.dropdown')].map(solution => {
  const content = solution.querySelector('section, .section, p:not(.admonition-title)');
  const before = content.checkVisibility({visibilityProperty: true});
  solution.querySelector('button.toggle-button').click();
  return [before, content.checkVisibility({visibilityProperty: true})];
})"""


def test_solutions_are_folded_until_asked_for(browser, origins, site):
    folded = [p for p in visited() if re.search(r'<div class="[^"]*\bsolution\b[^"]*"', (site / p).read_text("utf8"))]
    assert folded, "no exercise has a solution"
    with Visit(browser, origins) as visit:
        for path in folded:
            visit.page.goto(f"{origins['file']}/{path}")
            before, after = zip(*visit.page.evaluate(UNFOLD), strict=True)
            assert not any(before), path
            assert all(after), path
        visit.check()


@pytest.mark.screenshots
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("path", [p for p in visited() if p.startswith("book/")])
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
