"""The built pages as they stand: links lead somewhere, and every picture says in words what it shows."""

from __future__ import annotations

from functools import cache
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup

from tests.book.conftest import SITE, pages

pytestmark = pytest.mark.site


@cache
def parsed(path):
    return BeautifulSoup(path.read_bytes(), "html.parser")


@cache
def anchors(path):
    return {t.get("id") or t.get("name") for t in parsed(path).find_all(lambda t: t.get("id") or t.get("name"))}


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(site, page):
    here = site / page
    broken = []
    for tag in parsed(here).find_all(["a", "link", "script", "img", "iframe", "source"]):
        address = tag.get("href") or tag.get("src")
        if not address or address.startswith(("http:", "https:", "mailto:", "data:")):
            continue
        address, anchor = urldefrag(address)
        target = (here.parent / unquote(address.split("?")[0])).resolve() if address else here
        if not target.is_relative_to(SITE) or not target.is_file():
            broken.append(f"{address}: no such file")
        elif anchor and target.suffix == ".html" and unquote(anchor) not in anchors(target):
            broken.append(f"{address}#{anchor}: no such place")
    assert broken == []


@pytest.mark.parametrize("page", pages())
def test_pictures_have_words(site, page):
    mute = []
    for image in parsed(site / page).find_all("img"):
        if not (image.get("alt") or "").strip() or image["alt"].startswith("../_images/"):
            mute.append(str(image)[:120])
    for svg in parsed(site / page).find_all("svg"):
        hidden = svg.get("aria-hidden") == "true" or svg.find_parent(attrs={"aria-hidden": "true"})
        named = svg.get("aria-label") or svg.get("aria-labelledby") or svg.find("title")
        if not hidden and not named and not svg.find_parent("svg"):
            mute.append(str(svg)[:120])
    assert mute == []


@pytest.mark.parametrize("page", pages())
def test_nothing_failed(site, page):
    assert not parsed(site / page).select(".traceback, .problematic, .system-message"), "a cell or a directive failed"


def test_mathematics_is_not_loaded(site):
    assert not [p for p in pages() if "mathjax" in (site / p).read_text("utf8").lower()]
