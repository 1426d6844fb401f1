"""The page of names: a directive, ``{named}``, that is replaced by a list of all that the chapters name."""

from __future__ import annotations

from html import escape

from appendix import CODE
from docutils import nodes
from kernel_names import KERNEL, page_of, says, structures
from sphinx.util.docutils import SphinxDirective

from blkmodel.reference import mirror
from blkmodel.reference.source import definitions
from blkmodel.view.facts.explained import told
from blkmodel.view.figures.explain import chapters


def rows():
    """(name, where it is in the kernel, its address there, what it is for, its page of the model), by name."""
    shapes = {each.__name__: each for each in structures()}
    for name in told():
        for each in definitions().get(name, ()):
            function = mirror.by_place().get((name, each.file))
            yield (name, f"{each.file}:{each.line}", f"{KERNEL}/source/{each.file}#L{each.line}",
                   says(function) if function else "",
                   f"{page_of(function.__module__)}#{name}" if function else "")
        if name in shapes and name not in definitions():
            yield (name, f"struct {name}", f"{KERNEL}/ident/{name}", says(shapes[name]),
                   f"{page_of(shapes[name].__module__)}#{name}")


class Named(SphinxDirective):
    def run(self):
        items = []
        for name, where, address, meaning, model in rows():
            links = [f'<a href="{address}">{escape(where)}</a>']
            if model:
                links.append(f'<a href="../{model}">model</a>')
            said = CODE.sub(r"<code>\1</code>", escape(meaning))
            items.append(f'<dt id="{name}"><code>{name}</code></dt>'
                         f'<dd>{said} <span>{" · ".join(links + chapters(name))}</span></dd>')
        return [nodes.raw("", f'<dl class="names">{"".join(items)}</dl>', format="html")]


def setup(app):
    app.add_directive("named", Named)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
