"""The pages of the built site made one, to be printed: see press.py.

Figures are there as they stand at rest. Links within the book lead to its pages, those to the model's source to the
kernel's, or to the site where it is published. What answers a question stands at the end.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from importlib.metadata import version
from pathlib import Path
from unicodedata import east_asian_width
from urllib.parse import urldefrag

from bs4 import BeautifulSoup, NavigableString

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TITLE = "How Linux Block I/O Really Works"
ABOUT = ("Linux v5.4: NVMe, blk-mq and device mapper, function by function. Every figure is what a model of that code "
         "did, and the model is held against recordings of a real kernel.")
# What a reader of paper has no use for: what is pressed, what is folded away, what is written under the mouse. A button
# within a figure stays, since its text is the name of something.
LEFT_OUT = ("a.headerlink, form, .blk-status, .blk-moves, details.hide, .toctree-wrapper, script, .blk-links, "
            "a.kernel-source, .exercise-answer")
ID_REFERENCES = ("aria-labelledby", "aria-describedby", "for", "headers", "list")
URL = re.compile(r"url\(#([^)]+)\)")
PICTURES = ("img", "svg")
FITTED = (".cell_output .blk:not(.blk .blk), .cell_output > .output > svg, .cell_output img, .admonition, .note-pair, "
          "table:not(.blk table), pre")
# These are lists: nothing is lost where one goes on over the page.
LISTS = "blk-calls", "blk-tour", "blk-explain", "blk-errs", "blk-beside", "blk-since", "blk-break"
COLUMNS = 103  # that a line of code has room for, in letters of the size that print.css says, and in
SMALL = 0.78  # of that size
SHORT = 16  # lines of code that stay together


@dataclass
class Chapter:
    """A page of the site on its way into the book. name: as in _toc.yml. solutions: what moves to the end."""

    name: str
    title: str = ""
    body: object = None
    solutions: list = field(default_factory=list)

    @property
    def id(self):
        return slug(self.name)

    def texts(self):
        """The chapter, and what of it stands at the end of the book."""
        return [self.body, *(each for _, _, answer in self.solutions for each in answer if hasattr(each, "select"))]


def slug(name):
    """A page's name as the beginning of identities: `book/tag-sets` is `tag-sets`."""
    return name.removeprefix("book/").replace("/", "-")


def made(text):
    """The element that a text of HTML is."""
    return BeautifulSoup(text, "html.parser").contents[0]


def read(page):
    """The text of a page of the site, without what is around it. Blanks in a figure's lines of code are the code's."""
    return BeautifulSoup(page.read_text("utf8"), "html.parser",
                         preserve_whitespace_tags={"pre", "span"}).select_one("article.bd-article")


def columns(line):
    """How wide a line of code is: a Chinese character is as wide as two others."""
    return sum(1 + (east_asian_width(each) in "WF") for each in line)


def page_of(target):
    """Where the number of the page will stand that a place is on."""
    return f'<span data-page="{target}"></span>'


def told_of(question):
    """What is said of the answers of a choice: see set_choices()."""
    return [listed.told for listed in question.select("ol.choices")]


def parts(toc):
    """(title, names of pages) of each part of the book; the first has the first page alone."""
    yield "", [toc["root"]]
    for part in toc["parts"]:
        yield part["caption"], [each["file"] for each in part["chapters"]]


class Printed:
    """The site's pages, made one."""

    def __init__(self, site, toc, base=""):
        self.site, self.base = site, base
        self.parts = [(title, [Chapter(name) for name in names]) for title, names in parts(toc)]
        self.chapters = [each for _, chapters in self.parts for each in chapters]
        self.names = {f"{each.name}.html" for each in self.chapters}
        self.styles: dict[str, None] = {}
        for chapter in self.chapters:
            self.read(chapter)
        self.drop_dead_links()
        self.number_the_index()
        self.mark_what_may_not_fit()

    def read(self, chapter):
        article = read(self.site / f"{chapter.name}.html")
        self.lead_to_the_kernel(article)
        for each in article.select(LEFT_OUT):
            each.decompose()
        for each in article.find_all("style"):
            self.styles[each.string] = None
            each.decompose()
        self.name_all(article, chapter)
        heading = article.find("h1")
        chapter.title = heading.get_text()
        heading["id"] = chapter.id
        for each in article.select(".blk :is(h3, h4, h5, h6)"):  # the PDF's outline is one of the text
            each["role"] = "presentation"
        for each in article.select(".cell"):
            if not each.get_text(strip=True) and not each.find(PICTURES):
                each.decompose()
        self.set_choices(article)
        self.move_solutions(article, chapter)
        chapter.body = article

    @staticmethod
    def lead_to_the_kernel(article):
        """A name has two links, one to the model and behind it one to the kernel: the second is the one on paper.

        In a figure, both are beside the name, which becomes the link.
        """
        for arrow in article.select("a.kernel-source"):
            name = arrow.find_previous_sibling("a")
            if name is not None:
                name["href"] = arrow["href"]
        for links in article.select(".blk-links"):
            around, to_c = links.parent, links.extract().select_one("[aria-label$=' in C']")
            name = around.select_one(".name, .blk-call, code") or (around if around.name == "dt" else None)
            if to_c is not None and name is not None and not name.find("a"):
                link = made(f'<a class="in-kernel" href="{to_c["href"]}"></a>')
                link.extend(list(name.contents))
                name.append(link)

    def name_all(self, article, chapter):
        """Identities become unique in the book, and what refers to them follows."""
        def own(name):
            return f"{chapter.id}--{slug(name)}"

        seen = set()
        for each in article.find_all(True):
            if each.get("id"):
                if each["id"] in seen:
                    del each["id"]
                else:
                    seen.add(each["id"])
                    each["id"] = own(each["id"])
            each.attrs.pop("title", None)
            for attribute in ID_REFERENCES:
                if attribute in each.attrs:
                    each[attribute] = " ".join(map(own, str(each[attribute]).split()))
            for attribute, value in list(each.attrs.items()):
                if isinstance(value, str) and "url(#" in value:
                    each[attribute] = URL.sub(lambda found: f"url(#{own(found[1])})", value)
            for attribute in ("href", "xlink:href", "src"):
                if attribute in each.attrs:
                    self.lead(each, attribute, chapter, own)

    def lead(self, element, attribute, chapter, own):
        """A link within the book leads to its place there; one to the rest of the site to where that is published, and
        so does one to a figure that is set to something."""
        target, anchor = urldefrag(element[attribute])
        if re.match(r"[a-z]+:", target):
            return
        target, _, state = target.partition("?")
        target = target or f"{os.path.basename(chapter.name)}.html"
        path = os.path.normpath(os.path.join(os.path.dirname(chapter.name), target))
        if state and self.base:
            element[attribute] = f"{self.base}{path}?{state}"
        elif path in self.names:
            there = slug(path.removesuffix(".html"))
            element[attribute] = f"#{there}--{slug(anchor)}" if anchor else f"#{there}"
        elif element.name == "a":
            if self.base:
                element[attribute] = f"{self.base}{path}{'#' if anchor else ''}{anchor}"
            else:
                del element[attribute]
        else:
            element[attribute] = (self.site / path).as_uri()

    @staticmethod
    def set_choices(article):
        """The answers of a choice become a list with letters; what is right and wrong about each is kept aside."""
        while (first := article.select_one("details.choice")) is not None:
            answers = [first]
            while (after := next((each for each in answers[-1].next_siblings if not isinstance(each, NavigableString)
                                  or each.strip()), None)) is not None and "choice" in (after.get("class") or ()):
                answers.append(after)
            listed, told = made('<ol class="choices"></ol>'), made('<ol class="choices"></ol>')
            first.insert_before(listed)
            for answer in answers:
                for place, content in ((listed, answer.summary), (told, answer.p)):
                    item = made("<li></li>")
                    item.extend(list(content.contents))
                    place.append(item)
                answer.extract()
            listed.told = told

    @staticmethod
    def move_solutions(article, chapter):
        """What answers a question goes to the end of the book, and a question says where."""
        for number, quiz in enumerate(article.select(".admonition.quiz"), 1):
            quiz["id"] = f"{chapter.id}--quiz-{number}"
            chapter.solutions.append((f"Check yourself ({number})", quiz, told_of(quiz)))
        for exercise in article.select(".admonition.exercise"):
            title = " ".join(exercise.select_one(".admonition-title").get_text().split())
            answer = told_of(exercise)
            for each in exercise.find_next_siblings("div", class_="admonition"):
                if "exercise" in each["class"]:
                    break
                if "solution" in each["class"]:
                    each.select_one(".admonition-title").decompose()
                    answer += list(each.extract().contents)
            chapter.solutions.append((title, exercise, answer))
        for number, (_, question, _) in enumerate(chapter.solutions, 1):
            target = f"{chapter.id}--answer-{number}"
            question.append(made(f'<p class="see">Answer: <a href="#{target}">page {page_of(target)}</a></p>'))

    def drop_dead_links(self):
        """A link to a place that is not printed is text; and nobody needs an identity that no link leads to."""
        there = {each["id"] for chapter in self.chapters for each in chapter.body.select("[id]")}
        for chapter in self.chapters:
            for body in chapter.texts():
                for link in body.select("a[href^='#']"):
                    if link["href"][1:] not in there and "--answer-" not in link["href"]:
                        own = link["href"][1:].partition("--")[0]
                        link["href"] = f"#{own}"

    def number_the_index(self):
        """Names and symptoms become an index: links have their pages. One that leads nowhere is left out."""
        for chapter in self.chapters:
            for link in chapter.body.select("dl.names a, .blk-explain a"):
                if link.get("href", "").startswith("#"):
                    link.extend([" ", made(page_of(link["href"][1:]))])
                elif not link.get("href") and link.get_text() == "model":
                    link.previous_sibling.extract()
                    link.extract()

    def mark_what_may_not_fit(self):
        """What is not divided, or not well, gets an identity: fit() in press.py asks where it comes to lie.

        A line of code that is somewhat too long is written smaller. Short code stays together, with what it prints. A
        sentence that ends with a colon stays with what it announces.
        """
        for chapter in self.chapters:
            for number, each in enumerate(chapter.body.select(FITTED)):
                each["id"] = each.get("id") or f"{chapter.id}--fit-{number}"
                each["data-fit"] = each["id"]
                for kind in set(LISTS) & set(each.get("class", ())):
                    each["data-list"] = kind
            for body in chapter.texts():
                for sentence in body.select("p"):
                    if sentence.get_text().rstrip().endswith(":"):
                        sentence["class"] = [*sentence.get("class", ()), "announces"]
                for code in body.select("pre"):
                    lines = code.get_text().rstrip("\n").split("\n")
                    room = COLUMNS - 4 * bool(code.find_parent(class_=("note-pair", "admonition")))
                    scale = room / max(1, *map(columns, lines))
                    if SMALL <= scale < 1:
                        code["style"] = f"--smaller: {scale:.3f}"
                    if len(lines) <= SHORT:
                        code["class"] = [*code.get("class", ()), "whole"]
                for cell in body.select(".cell:not(:has(.blk, svg, img))"):
                    if len(cell.get_text().strip().split("\n")) <= SHORT:
                        cell["class"] = [*cell["class"], "whole"]

    def sections(self):
        """The book's sections, each of which begins on a page of its own: (identity, HTML)."""
        yield "cover", self.cover()
        yield "contents", "\n".join(self.contents())
        for part, chapters in self.parts:
            for number, chapter in enumerate(chapters):
                said = f'<p class="part-title">{escape(part)}</p>' if part and number == 0 else ""
                yield chapter.id, (f'<section class="chapter c-{chapter.id}">{said}'
                                   f"{chapter.body.decode_contents()}</section>")
        yield "solutions", "\n".join(self.solutions())

    def head(self):
        heads = [f'@page c-{each.id} {{ @top-left {{ content: "{each.title}" }} }} '
                 f"section.c-{each.id} {{ page: c-{each.id} }}" for each in self.chapters]
        sheets = [self.site / "_static" / "pygments.css", HERE / "print.css"]
        links = "".join(f'<link rel="stylesheet" href="{sheet.as_uri()}">' for sheet in sheets)
        return (f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>{TITLE}</title>'
                f"<style>{' '.join(self.styles)}</style>{links}<style>{' '.join(heads)}</style></head><body>")

    def cover(self):
        site = f'<a href="{self.base}">{self.base}</a>'
        where = f"The site, where figures answer to their reader: {site}. " if self.base else ""
        picture = (ROOT / "book" / "picture.svg").as_uri()
        return (f'<section class="cover"><h1>{TITLE.replace("k I", "k&nbsp;I")}</h1><p>{ABOUT}</p>'
                f'<img src="{picture}" alt="The queues that an NVMe driver set up on a machine with eight CPUs">'
                f'<p class="imprint">Version {version("blkmodel")}. {where}Text and figures: CC BY-SA 4.0. '
                "Code: GPL-2.0-only.</p></section>")

    def contents(self):
        """Parts, chapters and their sections, but for the sections that most chapters have."""
        headings = {each.id: [(h2.parent, h2.get_text()) for h2 in each.body.select("section[id] > h2")]
                    for each in self.chapters}
        times = Counter(title for each in headings.values() for _, title in each)
        yield '<nav class="contents"><h1 id="contents">Contents</h1>'
        for part, chapters in self.parts:
            yield f"<h2>{escape(part)}</h2><ol>" if part else "<ol>"
            for chapter in chapters:
                yield f"{self.line(chapter.id, chapter.title)}<ol>"
                for section, title in headings[chapter.id] if chapter.solutions else ():
                    if times[title] < 4:
                        yield f'{self.line(section["id"], title)}</li>'
                yield "</ol></li>"
            yield "</ol>"
        yield f'<h2>At the end</h2><ol>{self.line("solutions", "Solutions")}</li></ol></nav>'

    @staticmethod
    def line(target, title):
        return f'<li><a href="#{target}"><span>{escape(title)}</span><i></i>{page_of(target)}</a>'

    def solutions(self):
        yield '<section class="chapter solutions"><h1 id="solutions">Solutions</h1>'
        for chapter in self.chapters:
            if chapter.solutions:
                yield f"<h2>{escape(chapter.title)}</h2>"
            for number, (name, question, answer) in enumerate(chapter.solutions, 1):
                yield f'<div class="answer" id="{chapter.id}--answer-{number}">'
                yield f'<h3><a href="#{question["id"]}">{escape(name)}</a></h3>{"".join(map(str, answer))}</div>'
        yield "</section>"
