"""The first mention of a word of the glossary on a page leads there, and its meaning is shown under the mouse."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

GLOSSARY = Path(__file__).resolve().parents[1] / "glossary.md"
ENTRY = re.compile(r"^(\S.*)\n  (\S.*)$", re.MULTILINE)
NOT_IN = (nodes.reference, nodes.literal, nodes.title, nodes.literal_block, nodes.Admonition, nodes.table)
PAGES = ("book/glossary", "book/names", "book/source-notes", "book/index")
CJK = re.compile("[\u4e00-\u9fff]")


def entries():
    """Word → what it means, in one sentence or two."""
    text = GLOSSARY.read_text("utf8")
    inside = text[text.index("```{glossary}"):text.index("\n```\n")].partition("\n")[2]
    return {word: re.sub(r"[`*]", "", meaning) for word, meaning in ENTRY.findall(inside)}


class LinkTerms(SphinxPostTransform):
    default_priority = 401
    formats = ("html",)

    def run(self, **kwargs):
        if self.env.docname in PAGES:
            return
        known = entries()
        wanted = {word.lower(): word for word in known}
        any_of = "|".join(map(re.escape, sorted(wanted, key=len, reverse=True)))
        pattern = re.compile(rf"(?<![\w-])({any_of})(s?)(?![\w-])", re.IGNORECASE)
        for text in list(self.document.findall(nodes.Text)):
            if not isinstance(text.parent, nodes.paragraph) or self.inside(text) or CJK.search(text.astext()):
                continue
            found = next((each for each in pattern.finditer(text) if each[1].lower() in wanted), None)
            if found is None:
                continue
            word = wanted.pop(found[1].lower())
            link = nodes.reference("", found[0], refuri=f"glossary.html#term-{word.replace(' ', '-')}", internal=True,
                                   classes=["term"], reftitle=known[word])
            text.parent.replace(text, [nodes.Text(text[:found.start()]), link, nodes.Text(text[found.end():])])

    @staticmethod
    def inside(node):
        while (node := node.parent) is not None:
            if isinstance(node, NOT_IN):
                return True
        return False


def setup(app):
    app.add_post_transform(LinkTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
