"""Every page in a browser: one visit over HTTP, under the strict policy that the README gives, and one from disk.

Nothing comes from another host, nothing fails, nothing is wider than the window, nobody is kept out; each cell gives
what is stored of it, and each figure shows what Python draws."""

from __future__ import annotations

import functools
import gzip
import re
from urllib.parse import unquote

import pytest

from tests.book.access import violations
from tests.book.conftest import SITE, Visit, visited
from tests.book.live import figures, until
from tests.book.test_cells import RUN_ALL, compare
from tests.book.test_live import live_pages, try_figures
from tests.tools.outputs import chapters

pytestmark = pytest.mark.site

WIDTHS = {"desktop": 1280, "phone": 390, "small phone": 360}
HEAVIEST = 700_000  # bytes of a page before a figure is touched
LOOKS = [("dark", "phone"), ("light", "small phone"), ("light", "desktop")]  # a theme changes colours alone
DOOR = "index.html"  # it shows nothing of its own, and leads on
PAGES = [path for path in visited() if path != DOOR]
CHAPTERS = {f"book/{path.stem}.html": path.stem for path in chapters()}
LIVE = live_pages()

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


# Whether what is in a solution can be seen, before and after its button was pressed.
UNFOLD = """() => [...document.querySelectorAll('div.solution.dropdown')].map(solution => {
  const content = solution.querySelector('section, .section, p:not(.admonition-title)');
  const before = content.checkVisibility({visibilityProperty: true});
  solution.querySelector('button.toggle-button').click();
  return [before, content.checkVisibility({visibilityProperty: true})];
})"""


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_a_page_over_http(window, origins, path):
    """What it weighs; each cell; the first figure."""
    page = window.open(f"{origins['http']}/{path}")
    assert weight(window.asked, origins["http"]) < HEAVIEST
    window.check()
    if path in CHAPTERS:
        compare(CHAPTERS[path], page.evaluate(RUN_ALL))
    for figure in figures(page.evaluate)[:1]:
        figure.check(**dict([next(figure.moves())]))
    window.check()


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_a_page_from_disk(window, origins, path):
    """How it looks, to everybody; each figure; that solutions are folded until they are asked for."""
    page = window.open(f"{origins['file']}/{path}")
    for scheme, name in LOOKS:
        page.emulate_media(color_scheme=scheme)
        window.size(WIDTHS[name])
        assert page.evaluate(STICKS_OUT) == [], f"too wide for a {name}, {scheme}"
    window.check()
    assert violations(page) == []
    if path in LIVE:
        try_figures(page, LIVE[path])
    folded = page.evaluate(UNFOLD)
    assert bool(folded) == has_solutions(path)
    assert not any(before for before, _ in folded)
    assert all(after for _, after in folded)
    window.check()


def has_solutions(path):
    return bool(re.search(r'<div class="[^"]*\bsolution\b[^"]*"', (SITE / path).read_text("utf8")))


def test_some_page_has_solutions(site):
    assert any(map(has_solutions, PAGES)), "no exercise has a solution"


@pytest.mark.parametrize("way", ["http", "file"])
def test_the_front_door_leads_on(window, origins, way):
    page = window.open(f"{origins[way]}/{DOOR}")
    page.wait_for_url("**/book/index.html")
    page.wait_for_load_state("load")
    assert way == "file" or weight(window.asked, origins["http"]) < HEAVIEST
    window.check()


def test_axe_finds_what_is_wrong(window, origins):
    page = window.open(f"{origins['file']}/book/source-notes.html")
    wrong = '<button></button><p style="color: #999; background: #fff">pale</p>'
    page.evaluate("html => document.querySelector('main').insertAdjacentHTML('beforeend', html)", wrong)
    found = {": ".join(each.split(": ")[:2]) for each in violations(page)}
    assert found == {"light: button-name", "light: color-contrast", "dark: color-contrast"}


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
        until(lambda: luminance(page.evaluate(background)) < 0.2, page=page)
        page.goto(f"{origins['file']}/book/source-notes.html")
        until(lambda: luminance(page.evaluate(background)) < 0.2, page=page)  # the choice lasts
        visit.check()


@pytest.mark.parametrize("way", ["file", "http"])
@pytest.mark.parametrize("words", ["queue", "blk_mq_alloc_tag_set", "软件队列"])
def test_search_finds(window, origins, way, words):
    page = window.open(f"{origins[way]}/search.html?q={words}")
    page.wait_for_selector("#search-results li a")
    page.wait_for_load_state("networkidle")
    window.check()


def test_the_menu_of_a_phone_covers_the_page(browser, origins):
    with Visit(browser, origins) as visit:
        page = visit.page
        visit.size(390, 844)
        page.goto(f"{origins['file']}/book/index.html")
        page.locator(".primary-toggle").first.click()
        page.locator("#pst-primary-sidebar-modal").get_by_text("The source notes").wait_for(state="visible")
        menu = "document.querySelector('#pst-primary-sidebar-modal')"
        background = f"getComputedStyle({menu}).backgroundColor"
        until(lambda: not re.search(r"rgba\(.*, 0(\.\d+)?\)|transparent", page.evaluate(background)), page=page)
        visit.check()


def test_chinese_has_a_font(window, origins):
    page = window.open(f"{origins['file']}/book/source-notes.html")
    assert page.locator('[lang="zh"]').count()
    assert "CJK" in page.evaluate("getComputedStyle(document.querySelector('[lang=zh]')).fontFamily")


@pytest.mark.screenshots
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("path", [p for p in visited() if p.startswith("book/")])
def test_screenshots(browser, origins, path, device, scheme):
    shots = SITE.parent / "screenshots"
    shots.mkdir(exist_ok=True)
    with Visit(browser, origins) as visit:
        visit.page.emulate_media(color_scheme=scheme)
        visit.size(WIDTHS[device], 900 if device == "desktop" else 844)
        visit.page.goto(f"{origins['file']}/{path}")
        visit.page.wait_for_load_state("networkidle")
        name = path.removeprefix("book/").removesuffix(".html").replace("/", "-")
        visit.page.screenshot(path=shots / f"{name}-{device}-{scheme}.png", full_page=True)
