"""The book as PDF: everything is in it, links lead somewhere, and no page is half empty without need."""

from __future__ import annotations

import re
from importlib import import_module

import pypdf
import pytest
import yaml

from tests.book.conftest import ROOT, SITE, patient

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("printed")]  # the PDF is looked at once

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


def test_nothing_that_a_figure_says_is_lost(book):
    """A button in a figure is the name of something; what stands before a line of code is its depth."""
    read = import_module("pages").read
    buttons = ".blk button:not(.blk-moves *)"
    for chapter in book.chapters:
        page = read(SITE / f"{chapter.name}.html")
        on_site = [each.get_text() for each in page.select(buttons) if not each.find_parent("form")]
        on_paper = [each.get_text() for body in chapter.texts() for each in body.select(buttons)]
        assert sorted(on_paper) == sorted(on_site), chapter.name
        for line in (each for body in chapter.texts() for each in body.select(".blk-code span[style]")):
            text = line.get_text()
            assert len(text) - len(text.lstrip()) == int(re.search(r"--in:(\d+)", line["style"])[1]), text


def test_a_function_in_a_figure_leads_to_the_kernel(book):
    read = import_module("pages").read
    for chapter in book.chapters:
        page = read(SITE / f"{chapter.name}.html")
        to_c = {link["href"] for link in page.select(".blk-links a[aria-label$=' in C']")}
        there = {link["href"] for body in chapter.texts() for link in body.select("a.in-kernel")}
        assert to_c - there == set(), chapter.name


@pytest.fixture(scope="module")
def laid_out(press, book, browser, tmp_path_factory):
    """All of the book in a browser, as it is for print."""
    file = tmp_path_factory.mktemp("print") / "book.html"
    file.write_text(f"{book.head()}{''.join(html for _, html in book.sections())}</body></html>", "utf8")
    page = patient(browser.new_page(viewport={"width": 680, "height": 1000}))
    page.emulate_media(media="print")
    page.goto(file.as_uri())
    yield page
    page.close()


def test_nothing_is_scrolled_or_pressed(laid_out):
    assert laid_out.evaluate("""() => [...document.querySelectorAll('.blk, .blk *')]
        .filter(each => /auto|scroll/.test(getComputedStyle(each).overflowY) && each.clientHeight
                        && each.scrollHeight > each.clientHeight + 1)
        .map(each => each.className)""") == []
    assert laid_out.evaluate("""() => [...document.querySelectorAll('form, input, select, textarea, .blk-moves')]
        .map(each => each.outerHTML)""") == []


def test_a_line_of_code_that_is_written_smaller_is_not_broken(laid_out):
    smaller, broken = laid_out.evaluate("""() => {
        const smaller = [...document.querySelectorAll('pre[style]')]
        for (const each of smaller) each.style.whiteSpace = 'pre'
        return [smaller.length, smaller.filter(each => each.scrollWidth > each.clientWidth + 1)
                .map(each => each.textContent)]}""")
    assert smaller > 50
    assert broken == []


def test_no_heading_is_the_last_of_a_page(book, printed, press):
    height, above, below = press.PAPER
    headings = {each["id"] for chapter in book.chapters for each in chapter.body.select("section[id]")}
    tops = {name: top for name, (_, top) in printed.places.items() if name in headings}
    assert len(tops) > 200
    assert [name for name, top in tops.items() if top > height - above - below - 14] == []


def test_the_outline_is_that_of_the_text(book, reader):
    """Chapters, sections and exercises; what a figure has for headings is not among them."""
    def titles(items, depth=0):
        for item in items:
            if isinstance(item, list):
                yield from titles(item, depth + 1)
            else:
                yield depth, item.title

    found = list(titles(reader.outline))
    chapters = (" ".join(each.title.split()) for each in book.chapters)
    assert [" ".join(title.split()) for depth, title in found if depth == 0] == [
        import_module("pages").TITLE, "Contents", *chapters, "Solutions"]
    assert (1, "What can go wrong") in found
    headings = [each for chapter in book.chapters for each in chapter.body.select("h1, h2, h3, h4, h5, h6")]
    of_text = {flat(each.get_text()) for each in headings if not each.find_parent(class_="blk")}
    of_figures = {flat(each.get_text()) for each in headings} - of_text
    assert len(of_figures) > 20
    assert [title for _, title in found if flat(title) in of_figures] == []


def test_the_list_of_names_is_an_index(book, printed, reader):
    names = next(each for each in book.chapters if each.name == "book/names")
    begin, end = printed.places["names"][0], printed.places["reading"][0]
    text = flat("".join(text_of(reader, number) for number in range(begin, end)))
    links = names.body.select("dl.names a[href^='#']")
    assert len(links) > 500
    assert [link["href"] for link in links
            if flat(f"{link.get_text()}{printed.places[link['href'][1:]][0]}") not in text] == []
    assert "·model" not in text


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


class Book:
    """What a press asks of a book."""

    def head(self):
        return f'<html><link rel="stylesheet" href="{(ROOT / "book" / "_print" / "print.css").as_uri()}"><body>'


@pytest.fixture
def made(press, browser, tmp_path):
    page = patient(browser.new_page(viewport={"width": 680, "height": 1000}))
    page.emulate_media(media="print")
    yield press.Press(page, Book(), tmp_path)
    page.close()


@pytest.mark.parametrize(("height", "wanted"), [(500, ""), (960, "zoom"), (3000, "break-inside")])
def test_a_picture_that_leaves_a_page_empty_is_made_smaller(press, made, height, wanted):
    """A chapter with nothing but two lines and what is too high for the rest of the page."""
    rows = "".join(f'<p style="height:{height / 20}px;margin:0">{n}</p>' for n in range(20))
    found = made.fit(f'<section class="chapter"><h1 id="c">Title</h1><p>Words</p><div class="cell_output">'
                     f'<div class="blk" id="fig" data-fit="fig">{rows}</div></div><p>More</p></section>')
    assert made.fits.get("fig", "").startswith(wanted)
    assert bool(made.fits) == bool(wanted)
    assert all(filled >= press.FULL for filled in found.filled[:-1])


def test_a_picture_that_is_higher_than_a_page_is_not_cut(made):
    found = made.fit('<section class="chapter"><h1 id="c">Title</h1><div class="cell_output"><div class="output">'
                     '<svg id="fig" data-fit="fig" width="200" height="1100" style="background:#000"></svg>'
                     '</div></div></section>')
    assert made.fits["fig"].startswith("zoom: 0.8")
    assert len(found.filled) == 1


def test_a_long_list_goes_on_over_the_page(made):
    """It is no reason to leave the rest of a page empty; and a list of calls that fills pages stands in two columns."""
    for kind, lines, wanted in (("blk-tour", 10, ""), ("blk-tour", 40, "break-inside"), ("blk-calls", 200, "columns")):
        rows = "".join(f"<li>{n}</li>" for n in range(lines))
        found = made.fit(f'<section class="chapter"><h1 id="c">Title</h1><p style="height:150mm">Words</p>'
                         f'<div class="cell_output"><div class="blk {kind}" id="{kind}{lines}" data-list="{kind}" '
                         f'data-fit="{kind}{lines}"><ul>{rows}</ul></div></div></section>')
        assert wanted in made.fits.get(f"{kind}{lines}", "")
        assert found.places[f"{kind}{lines}"][0] == 1


def test_a_few_lines_do_not_get_a_page(made):
    """A page has 48 lines, and 51 where they are set closer."""
    for lines, pages in ((50, 1), (60, 2)):
        text = "".join(f'<p style="margin:0">{n}</p>' for n in range(lines))
        found = made.fit(f'<section class="chapter c-{lines}">{text}</section>')
        assert len(found.filled) == pages
    assert made.close == {"c-50"}
