"""What the search page looks through, as _static/search-texts.js: the sections of the book, its questions, exercises,
symptoms and words, and the functions and structures of the model. Each has an address, a title, and its text.

The page needs no server: what it shows of a place comes with the texts. Sphinx's own index, which knows pages alone and
reads them anew for an excerpt, is left out. _static/search.js searches; the library that ranks is vendor/minisearch.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from docutils import nodes
from kernel_names import page_of, says, structures

from blkmodel.reference import mirror
from blkmodel.view.facts.explained import symptoms

SYMPTOM = re.compile(r'<div class="symptom" id="([\w-]+)"><h4>(.*?)</h4>(.*?)</div>', re.DOTALL)
WEIGHTS = {"book/source-notes": 0.35, "book/fidelity": 0.2, "book/api": 0.4, "book/names": 0}
PATTERNS = {each.key: each.pattern for each in symptoms()}
WORDS = 2  # the weight of what people call a thing
ASKS = 0.7  # that of an exercise, which asks where other places tell
EXERCISE = re.compile(r"^ \((.*)\)$")  # how an exercise's name is kept
NOT_TEXT = (nodes.title, nodes.raw, nodes.comment, nodes.image, nodes.system_message)


class Reader:
    """The entries of one page, in order: [address, page, title, text, weight, pattern of a log or nothing]."""

    def __init__(self, page, title):
        self.page, self.title = page, title
        self.weight = WEIGHTS.get(page, 1)
        self.entries = [[f"{page}.html", title, "", "", self.weight, ""]]
        self.exercises = {}

    def begin(self, anchor, title, weight=1.0, pattern=""):
        self.entries.append([f"{self.page}.html#{anchor}", self.title, title, "", weight * self.weight, pattern])
        return self.entries[-1]

    def read(self, node, entry):
        for child in node.children:
            title = next((each for each in child.children if isinstance(each, nodes.title)), None)
            kind = type(child).__name__
            if isinstance(child, nodes.Text):
                entry[3] += f" {child}"
            elif isinstance(child, nodes.raw):
                self.symptoms(child.astext())
            elif isinstance(child, NOT_TEXT) or child.get("nb_element") == "cell_code_source":
                continue
            elif kind.startswith("solution") and (exercise := self.exercises.get(child.get("target_label"))):
                self.read(child, exercise)
            elif title is not None and child.get("ids"):
                page = isinstance(child, nodes.section) and isinstance(node, nodes.document)
                name = EXERCISE.sub(r"\1", title.astext())
                weight = ASKS if kind.startswith("exercise") else 1
                part = self.entries[0] if page else self.begin(child["ids"][0], name, weight)
                if kind.startswith("exercise"):
                    self.exercises[child.get("label")] = part
                self.read(child, part)
            elif isinstance(child, nodes.definition_list_item) and child[0].get("ids"):
                name = child[0].astext().partition("(")[0].removesuffix(" source")
                self.begin(child[0]["ids"][0], name, 1.2)[3] = child[1].astext()
            elif isinstance(child, nodes.row) and self.page == "book/glossary":
                self.other_words(child)
            else:
                self.read(child, entry)

    def symptoms(self, shown):
        for anchor, heading, rest in SYMPTOM.findall(shown):
            entry = self.begin(anchor, html.unescape(heading), 1.2, PATTERNS[anchor].strip("-"))
            entry[3] = html.unescape(re.sub(r"<[^>]+>", " ", rest))

    def other_words(self, row):
        """What people call a thing, with where it is told."""
        target = next(row.findall(nodes.reference), None)
        if target is not None:
            title, *rest = (each.astext() for each in row.children)
            address = target["refuri"] if "refuri" in target else f"glossary.html#{target['refid']}"
            self.entries.append([f"book/{address}", rest[-1], title, " → ".join(rest), WORDS, ""])


def collect(app, pagename, templatename, context, doctree):
    if doctree is not None and WEIGHTS.get(pagename, 1):
        reader = Reader(pagename, app.env.titles[pagename].astext())
        reader.read(doctree, reader.entries[0])
        for entry in reader.entries:
            entry[3] = " ".join(entry[3].split())
        app.found_texts.extend(reader.entries)


def of_the_model():
    """Each function of the mirror, and each structure: what it is for, and its place in the source."""
    things = [(each.name, each.function) for each in mirror.functions()]
    things += [(each.__name__, each) for each in structures() if each.__name__.islower()]
    for name, thing in things:
        module = thing.__module__.removeprefix("blkmodel.").replace(".", "/")
        yield [f"{page_of(thing.__module__)}#{name}", f"{module}.py", name, says(thing), 0.1, ""]


def begin(app):
    app.found_texts = list(of_the_model())


def write(app, exception):
    if exception is None and app.builder.format == "html":
        site = Path(app.outdir)
        app.found_texts.sort(key=lambda entry: entry[4] == WORDS)
        texts = json.dumps(app.found_texts, ensure_ascii=False, separators=(",", ":"))
        (site / "_static" / "search-texts.js").write_text(f"window.bookTexts = {texts};\n", "utf8")
        for name in ("searchindex.js", "_static/searchtools.js"):
            (site / name).unlink(missing_ok=True)


def setup(app):
    app.connect("builder-inited", begin)
    app.connect("html-page-context", collect)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
