"""The built pages as they stand: links lead somewhere, pictures say what they show, no other host is needed."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest

from tests.book.conftest import SITE, pages

pytestmark = pytest.mark.site

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video", "image", "use"}
OUTSIDE = re.compile(r"\s*(https?:)?//")
STYLE_OUTSIDE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""")
NAMES = {"aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "for"}
NO_PAGES = ("http:", "https:", "mailto:", "data:")


class Page(HTMLParser):
    """What the tests ask of a page, read once.

    anchors: where a link can lead. links: what it links to. outside: what it would load from another host. mute:
    pictures without words. failed: marks of a cell or a directive that failed. names: what ARIA and labels refer to.
    """

    def __init__(self, text):
        super().__init__()
        self.anchors: Counter[str] = Counter()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.outside: list[str] = []
        self.mute: list[str] = []
        self.failed: list[str] = []
        self.hidden: list[tuple[str, bool]] = []  # the elements around: their tag, whether a screen reader skips them
        self.svg = ""  # the outermost picture around, as long as it has no name
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._look(tag, dict(attributes))
        if tag not in VOID:
            self.hidden.append((tag, self._hidden() or ("aria-hidden", "true") in attributes))
        if tag == "title" and self._within("svg"):
            self.svg = ""

    def handle_startendtag(self, tag, attributes):
        self._look(tag, dict(attributes))

    def handle_endtag(self, tag):
        while any(tag == open_tag for open_tag, _ in self.hidden):
            closed, _ = self.hidden.pop()
            if closed == "svg" and not self._within("svg") and self.svg:
                self.mute.append(self.svg)
                self.svg = ""
            if closed == tag:
                break

    def handle_data(self, data):
        if self._within("style"):
            self.outside += STYLE_OUTSIDE.findall(data)

    def _look(self, tag, has):
        if anchor := has.get("id") or has.get("name"):
            self.anchors[anchor] += 1
        for attribute in NAMES & has.keys():
            self.names.update((has[attribute] or "").split())
        address = has.get("href") or has.get("src") or has.get("xlink:href")
        if address and tag in {"a", "iframe", "img", "link", "script", "source"}:
            self.links.append(address)
        if tag in LOADED:
            sources = (address, has.get("srcset"), has.get("data"))
            self.outside += [each for each in sources if OUTSIDE.match(each or "")]
        self.outside += STYLE_OUTSIDE.findall(has.get("style") or "")
        if {"traceback", "problematic", "system-message"} & set((has.get("class") or "").split()):
            self.failed.append(self.get_starttag_text()[:120])
        alt = (has.get("alt") or "").strip()
        if tag == "img" and (not alt or alt.startswith("../_images/")):
            self.mute.append(self.get_starttag_text()[:120])
        if tag == "svg" and not self._within("svg") and not self._hidden() and has.get("aria-hidden") != "true":
            named = has.get("aria-label") or has.get("aria-labelledby")
            self.svg = "" if named else self.get_starttag_text()[:120]

    def _within(self, tag):
        return any(tag == open_tag for open_tag, _ in self.hidden)

    def _hidden(self):
        return bool(self.hidden) and self.hidden[-1][1]


@cache
def read(path):
    return Page(path.read_text("utf8"))


def of_every_page(site, look):
    """Page → what `look` finds wrong with it, of those where it finds anything."""
    return {name: wrong for name in pages() if (wrong := look(site / name))}


def test_links_lead_somewhere(site):
    def broken(here):
        for link in read(here).links:
            if link.startswith(NO_PAGES):
                continue
            address, anchor = urldefrag(link)
            target = (here.parent / unquote(address.split("?")[0])).resolve() if address else here
            if not target.is_relative_to(SITE) or not target.is_file():
                yield f"{address}: no such file"
            elif anchor and target.suffix == ".html" and unquote(anchor) not in read(target).anchors:
                yield f"{link}: no such place"

    assert of_every_page(site, lambda here: sorted(set(broken(here)))) == {}


def test_no_page_loads_anything_from_another_host(site):
    assert of_every_page(site, lambda here: read(here).outside) == {}
    assert not {sheet: found for sheet in site.rglob("*.css")
                if (found := STYLE_OUTSIDE.findall(sheet.read_text("utf8")))}


def test_pictures_have_words(site):
    assert of_every_page(site, lambda here: read(here).mute) == {}


def test_what_is_referred_to_is_there_once(site):
    """In what is folded away, too, where axe-core does not look."""
    assert of_every_page(site, lambda here: not_once(read(here))) == {}


def not_once(page):
    return sorted(name for name in page.names if page.anchors[name] != 1)


def test_nothing_failed(site):
    assert of_every_page(site, lambda here: read(here).failed) == {}, "a cell or a directive failed"


def test_mathematics_is_not_loaded(site):
    assert of_every_page(site, lambda here: "mathjax" in here.read_text("utf8").lower()) == {}


def test_what_is_wrong_is_found():
    page = Page('<p id="here"><svg><rect/></svg><svg><g><title>words</title></g></svg><img src="//elsewhere/a.png">'
                '<span aria-hidden="true"><svg></svg></span><i style="background:url(http://elsewhere/b.png)"></i>'
                '<style>@import "https://elsewhere/c.css";</style><a href="https://elsewhere">fine</a>'
                '<div class="x traceback"></div><svg aria-label="words"><svg></svg></svg>'
                '<label for="here" aria-controls="gone twice"><b id="twice"><b id="twice">')
    assert set(page.anchors) == {"here", "twice"}
    assert not_once(page) == ["gone", "twice"]
    assert page.links == ["//elsewhere/a.png", "https://elsewhere"]
    assert page.outside == ["//elsewhere/a.png", "url(http://elsewhere/b.png", '@import "https://elsewhere/c.css']
    assert page.mute == ["<svg>", '<img src="//elsewhere/a.png">']
    assert page.failed == ['<div class="x traceback">']
