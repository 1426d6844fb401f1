"""The book as PDF: everything is in it, links lead somewhere, and no page is half empty without need."""

from __future__ import annotations

import re
from importlib import import_module

import pypdf
import pytest
import yaml

from tests.book.conftest import ROOT, SITE

pytestmark = pytest.mark.site

PDF = ROOT / "_build" / "book.pdf"
A4 = (595, 842)  # points


@pytest.fixture(scope="module")
def press(site):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "book" / "_print"))
        yield import_module("press")


@pytest.fixture(scope="module")
def book(press):
    """The pages from which the PDF was made."""
    return press.Printed(SITE, yaml.safe_load((ROOT / "_toc.yml").read_text()))


@pytest.fixture(scope="module")
def printed(press):
    if not PDF.exists():
        pytest.fail("The book is not printed: make pdf", pytrace=False)
    return press.layout(PDF)


@pytest.fixture(scope="module")
def reader():
    return pypdf.PdfReader(PDF)


def text_of(reader, number):
    return " ".join(reader.pages[number - 1].extract_text().split())


def flat(text):
    """Without blanks, of which a PDF has no certain number."""
    return re.sub(r"\s+", "", text)


def test_every_chapter_is_in_it_and_in_the_contents_with_its_page(book, printed, reader):
    first = printed.places[book.chapters[0].id][0]
    contents = flat("".join(text_of(reader, number) for number in range(2, first)))
    for chapter in book.chapters:
        number, _ = printed.places[chapter.id]
        assert flat(chapter.title) in flat(text_of(reader, number)), f"{chapter.title} is not on page {number}"
        assert f"{flat(chapter.title)}{number}" in contents
    assert f"Solutions{printed.places['solutions'][0]}" in contents


def test_a_page_says_which_chapter_it_is_of_and_its_number(book, printed, reader):
    for chapter, after in zip(book.chapters, [*book.chapters[1:], None], strict=True):
        begin = printed.places[chapter.id][0]
        end = printed.places[after.id if after else "solutions"][0]
        for number in {begin, (begin + end) // 2, end - 1}:
            text = flat(text_of(reader, number))
            assert flat(chapter.title) in text, number
            assert str(number) in text, number


def test_every_question_has_its_answer_at_the_end(book, printed):
    answers = [f"{chapter.id}--answer-{number}" for chapter in book.chapters
               for number, _ in enumerate(chapter.solutions, 1)]
    end = printed.places["solutions"][0]
    assert len(answers) > 200
    assert [name for name in answers if printed.places[name][0] < end] == []
    assert [name for chapter in book.chapters for name, _, answer in chapter.solutions
            if not "".join(each.get_text() if hasattr(each, "get_text") else each for each in answer).strip()] == []
    assert [chapter.name for chapter in book.chapters if chapter.body.select(".solution, details.choice")] == []


def test_every_figure_is_in_it(book, press):
    """As many as the site has, each with something drawn or written."""
    read = import_module("pages").read
    top = ".blk:not(.blk .blk)"
    for chapter in book.chapters:
        page = read(SITE / f"{chapter.name}.html")
        there = [*chapter.body.select(top), *(figure for _, _, answer in chapter.solutions for each in answer
                                              if hasattr(each, "select") for figure in each.select(top))]
        assert len(there) == len(page.select(top)), chapter.name
        assert [figure for figure in there if not figure.get_text(strip=True) and not figure.find("svg")] == []


def test_links_lead_somewhere(reader):
    known = {name.removeprefix("/") for name in reader.named_destinations}
    inside, outside = set(), set()
    for page in reader.pages:
        for each in page.get("/Annots", ()):
            link = each.get_object()
            if "/Dest" in link:
                inside.add(str(link["/Dest"]).removeprefix("/"))
            else:
                outside.add(link["/A"]["/URI"])
    assert len(inside) > 500
    assert inside <= known
    assert [address for address in outside if not re.match(r"https?://[\w.-]+/", address)] == []


def test_no_page_is_more_than_half_empty_but_before_a_chapter(book, printed, press):
    begins = {printed.places[name][0] for name in (*(each.id for each in book.chapters), "solutions")}
    last = {number - 1 for number in begins} | {len(printed.filled)}
    assert [number for number, filled in enumerate(printed.filled, 1)
            if filled < press.FULL and number not in last] == []


def test_nothing_is_wider_than_a_page(reader):
    assert {tuple(map(round, page.mediabox[2:])) for page in reader.pages} == {A4}


def test_a_picture_that_leaves_a_page_empty_is_made_smaller(press, tmp_path, browser):
    """A chapter with nothing but two lines and what is too high for the rest of the page."""
    class Book:
        def head(self):
            return f'<html><link rel="stylesheet" href="{(ROOT / "book" / "_print" / "print.css").as_uri()}"><body>'

    def page_with(height):
        rows = "".join(f'<p style="height:{height / 20}px;margin:0">{n}</p>' for n in range(20))
        return (f'<section class="chapter"><h1 id="c">Title</h1><p>Words</p><div class="cell_output"><div class="blk" '
                f'id="fig" data-fit="fig">{rows}</div></div><p>More</p></section>')

    page = browser.new_page(viewport={"width": 680, "height": 1000})
    page.emulate_media(media="print")
    for height, wanted in ((500, ""), (960, "zoom"), (3000, "break-inside")):
        made = press.Press(page, Book(), tmp_path)
        found = made.fit(page_with(height))
        assert made.fits.get("fig", "").startswith(wanted)
        assert bool(made.fits) == bool(wanted)
        assert all(filled >= press.FULL for filled in found.filled[:-1])
    page.close()
