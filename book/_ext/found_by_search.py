"""Headings within what a cell shows are headings to the search: a reader who types a symptom is led to its place."""

from __future__ import annotations

import html
import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

HEADING = re.compile(r'id="([\w-]+)"><h4>(.*?)</h4>', re.DOTALL)


class Indexed(nodes.Invisible, nodes.Element):
    """A heading that the page shows already; only the search's index sees it here."""


class IndexHeadings(SphinxPostTransform):
    default_priority = 900  # when a cell's output has become the HTML that the page gets
    formats = ("html",)

    def run(self, **kwargs):
        for shown in list(self.document.findall(nodes.raw)):
            for anchor, heading in HEADING.findall(shown.astext()):
                section = nodes.section("", nodes.title("", html.unescape(heading)), ids=[anchor])
                shown.parent.insert(shown.parent.index(shown), Indexed("", section))


def skip(translator, node):
    raise nodes.SkipNode


def setup(app):
    app.add_node(Indexed, html=(skip, None))
    app.add_post_transform(IndexHeadings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
