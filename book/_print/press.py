"""Print the built site as one PDF: cover, contents with page numbers, the chapters of _toc.yml, their solutions.

    python book/_print/press.py OUT.pdf

pages.py makes one page of those of _build/html, and Chromium prints it. First each section is printed by itself. What
does not fit on a page, and would leave half of it empty, is made smaller until it does; or where it would get too small
for that, is divided. A long list is always divided. Then it is known on which page everything comes to lie, and the
whole can be printed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pypdf
import pypdfium2
import yaml
from pages import ROOT, Printed

SITE = ROOT / "_build" / "html"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu"]
PAPER = (297, 20, 18)  # the height of a page, its margins above and below, in mm: as in print.css
PIXEL = 25.4 / 96  # mm of a CSS pixel
POINT = 25.4 / 72
FULL = 0.5  # of a page: less is too little, but for the last page of a chapter
AIM = 0.6  # of a page: what a page is made to have, where that can be
SMALLEST = 0.6  # what is made smaller than that can hardly be read
LONG = 0.35  # of a page: a list that is longer need not stay together
FEW = 0.12  # of a page: so little is not worth a page
CLOSER = "section.{0} {{ line-height: 1.37; }} section.{0} h2 {{ margin-top: 6mm; }}"
TRIES = 16
DIVIDED = "break-inside: auto; --cards: auto;"
IN_COLUMNS = "columns: 2;"
MARKS = "marks"  # a last page of links, so that Chromium says where everything lies
WIDER = """() => Object.fromEntries([...document.querySelectorAll('[data-fit]')]
    .filter(each => each.scrollWidth > each.clientWidth + 1 && each.clientWidth)
    .map(each => [each.dataset.fit, each.clientWidth / each.scrollWidth]))"""
PICTURES = """() => Object.fromEntries(
    [...document.querySelectorAll('svg[data-fit], img[data-fit], [data-fit]:has(> svg):not([data-list])')]
    .map(each => [each.dataset.fit, each.getBoundingClientRect().height]))"""
HEIGHTS = """() => Object.fromEntries([...document.querySelectorAll('[data-fit]')].map(
    each => [each.dataset.fit, each.getBoundingClientRect().height]))"""
LISTS = """() => [...document.querySelectorAll('[data-list]')].map(
    each => [each.dataset.fit, each.dataset.list, each.getBoundingClientRect().height])"""
PAGE_NUMBER = re.compile(r'(<span data-page="([^"]*)">)[^<]*')


@dataclass
class Layout:
    """Where things lie in a PDF. filled: of each page, which share of its height is in use. places: identity → number
    of its page, from 1, and how far below the upper margin, in mm."""

    filled: list[float]
    places: dict[str, tuple[int, float]]


def layout(pdf):
    return Layout(filled(pdf), places(pdf))


def filled(pdf):
    """Of each page, which share of its height is in use."""
    height, above, below = PAPER
    document = pypdfium2.PdfDocument(pdf)
    shares = []
    for page in document:
        picture = page.render(scale=0.25, grayscale=True).to_pil()
        scale = picture.height / height
        inner = picture.crop((0, round((above - 1) * scale), picture.width, round((height - below + 1) * scale)))
        ink = inner.point(lambda grey: 255 * (grey < 245)).getbbox()
        shares.append(ink[3] / inner.height if ink else 0.0)
    document.close()
    return shares


def places(pdf):
    """Identity → number of its page, from 1, and how far below the upper margin, in mm."""
    height, above, _ = PAPER
    reader = pypdf.PdfReader(pdf)
    number = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages, 1)}
    return {name.removeprefix("/"): (number[place.page.idnum], height - above - place.top * POINT)
            for name, place in reader.named_destinations.items()}


class Press:
    """A browser's page that prints. fits: identity → style of what had to be fitted in. close: chapters by their class
    whose lines are closer to each other."""

    def __init__(self, page, book, scratch):
        self.page, self.book, self.scratch = page, book, scratch
        self.fits: dict[str, str] = {}
        self.close: set[str] = set()

    def print(self, html, out, pages=None, **options):
        """Print sections of the book. pages: identity → number of its page; without them, zeros are printed."""
        rules = "".join(f'[data-fit="{name}"] {{ {style} }}' for name, style in self.fits.items())
        rules += "".join(map(CLOSER.format, sorted(self.close)))
        text = PAGE_NUMBER.sub(lambda found: found[1] + str((pages or {}).get(found[2], 0)), html)
        file = self.scratch / "print.html"
        file.write_text(f"{self.book.head()}<style>{rules}</style>{text}</body></html>", "utf8")
        self.page.goto(file.as_uri())
        self.page.evaluate("document.fonts.ready.then(() => 0)")
        self.page.pdf(path=out, prefer_css_page_size=True, **options)

    def fit(self, html):
        """Print a section until none of its pages is too empty; return its layout."""
        names = dict.fromkeys(re.findall(r' id="([^"]+)"', html))
        marks = "".join(f'<a href="#{name}">.</a> ' for name in names)
        for left in reversed(range(TRIES)):
            self.print(f'{html}<section class="{MARKS}" id="{MARKS}"><a href="#{MARKS}">.</a>{marks}</section>',
                       self.scratch / "print.pdf")
            found = layout(self.scratch / "print.pdf")
            last, _ = found.places[MARKS]
            found.filled[last - 1:] = []
            if not left or not (self.narrow() or self.divide() or self.improve(found) or self.draw_in(html, found)):
                break
        return found

    def narrow(self):
        """Make what is wider than a page as wide as one, and a picture that is higher as high; whether there was
        something that is."""
        height, above, below = PAPER
        scales, before = self.page.evaluate(WIDER), set(self.fits)
        for name, pixels in self.page.evaluate(PICTURES).items():
            scales[name] = min(scales.get(name, 1), (height - above - below - 4) / (pixels * PIXEL))
        self.fits |= {name: f"zoom: {scale - 0.003:.3f};" for name, scale in scales.items()
                      if scale < 1 and name not in self.fits}
        return set(self.fits) != before

    def draw_in(self, html, found):
        """Set lines closer where a few of them would have the last page of a chapter to themselves; whether they were
        not yet."""
        chapter = re.search(r'class="chapter (c-[^"]+)"', html)
        if not chapter or found.filled[-1] > FEW or chapter[1] in self.close:
            return False
        self.close.add(chapter[1])
        return True

    def divide(self):
        """Let long lists go on over the page, and calls that would fill two in two columns; whether there were
        some that did not yet."""
        height, above, below = PAPER
        before = dict(self.fits)
        for name, kind, pixels in self.page.evaluate(LISTS):
            share = pixels * PIXEL / (height - above - below)
            if share > LONG and DIVIDED not in self.fits.get(name, ""):
                self.fits[name] = self.fits.get(name, "") + DIVIDED + IN_COLUMNS * (kind == "blk-calls" and share > 1.5)
        return self.fits != before

    def improve(self, found):
        """Change the fit of what leaves a page too empty; whether there was something to change."""
        heights, pictures = self.page.evaluate(HEIGHTS), self.page.evaluate(PICTURES)
        height, above, below = PAPER
        for page, filled in enumerate(found.filled[:-1], 1):
            if filled >= AIM:
                continue
            room = (1 - filled) * (height - above - below) - 4
            next_page = sorted((top, name) for name, (number, top) in found.places.items()
                               if number == page + 1 and name in heights)
            for top, name in next_page:
                style = self.fits.get(name, "")
                if DIVIDED in style:
                    continue
                before = float(style[len("zoom: "):-1]) if style else 1.0
                scale = before * (room - max(top, 0)) / (heights[name] * PIXEL)
                if style or scale >= 1:  # what goes with it takes room, too
                    scale = min(scale, before * 0.94)
                if scale >= SMALLEST or (name in pictures and filled < FULL and scale > SMALLEST / 2):
                    self.fits[name] = f"zoom: {scale:.3f};"
                elif name in pictures or filled >= FULL:
                    break
                else:
                    self.fits[name] = DIVIDED
                return True
        return False


def write(out, site=SITE, toc=None, base=""):
    """Print the book."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise SystemExit("The PDF is printed by Chromium. On Debian: apt-get install chromium")
    book = Printed(site, toc or yaml.safe_load((ROOT / "_toc.yml").read_text()), base)
    scratch = out.parent / "print"
    scratch.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 680, "height": 1000})
        page.set_default_timeout(300_000)
        page.emulate_media(media="print")
        press = Press(page, book, scratch)
        pages, before = {}, 0
        for _, html in book.sections():
            found = press.fit(html)
            pages |= {name: before + number for name, (number, _) in found.places.items()}
            before += len(found.filled)
        press.print("".join(html for _, html in book.sections()), out, pages, outline=True, tagged=True)
        browser.close()
    wrong = [f"{name} is on page {number}, not {pages.get(name)}"
             for name, (number, _) in places(out).items() if pages.get(name) != number]
    if wrong:
        raise SystemExit(f"Not all came to lie where it was to: {len(wrong)}, for one {wrong[0]}")
    print(f"{out}: {before} pages; fitted in: {len(press.fits)}")


if __name__ == "__main__":
    write(Path(sys.argv[1]).resolve(), base=os.environ.get("BOOK_URL", ""))
