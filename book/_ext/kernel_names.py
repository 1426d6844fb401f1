"""What the text names, it links: a function or structure of the model, in a chapter's prose, becomes two links.

One leads to the model's source, the other to the kernel's at the reference tag. The first mention in each section is
linked; more would be noise. A module of the model, written as `block/blk_mq.py`, leads to its page.
"""

from __future__ import annotations

import inspect
import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from blkmodel.reference import mirror
from blkmodel.reference.rooms import first_sentence
from blkmodel.reference.source import REFERENCE, line_of
from blkmodel.sim.structure import Struct

KERNEL = f"https://elixir.bootlin.com/linux/{REFERENCE}"
MODULE = re.compile(r"(?:[a-z_]+/)+[a-z0-9_]+\.py")


def page_at(path):
    """The page of a file of the model, such as `block/blk_mq.py`, without its ending."""
    return f"model/{path.removesuffix('.py').replace('__init__', 'index')}"


def page_of(module):
    return f"model/{module.removeprefix('blkmodel.').replace('.', '/')}.html"


def structures(base=Struct):
    for each in base.__subclasses__():
        yield each
        yield from structures(each)


def says(thing):
    """What a function or a structure is for, in one sentence."""
    return first_sentence(inspect.getdoc(thing))


def known():
    """Name → (page of the model, address in the kernel, what it is for), for all that a chapter can name."""
    found = {s.__name__: (f"{page_of(s.__module__)}#{s.__name__}", f"{KERNEL}/ident/{s.__name__}", says(s))
             for s in structures() if s.__name__.islower()}
    for each in mirror.functions():
        if line := line_of(each.name, each.file):
            page = page_of(each.function.__module__)
            found[each.name] = (f"{page}#{each.name}", f"{KERNEL}/source/{each.file}#L{line}", says(each.function))
    return found


class LinkNames(SphinxPostTransform):
    default_priority = 400
    formats = ("html",)

    def run(self, **kwargs):
        names = known()
        up = "../" * self.env.docname.count("/")
        for section in self.document.findall(nodes.section):
            seen = set()
            for literal in list(section.findall(nodes.literal)):
                name = literal.astext().removesuffix("()").removeprefix("struct ")
                own = literal.parent
                while own is not None and not isinstance(own, nodes.section):
                    own = own.parent
                if own is not section or name in seen or isinstance(literal.parent, nodes.reference):
                    continue
                if MODULE.fullmatch(name):
                    self.wrap(literal, f"{up}{page_at(name)}.html", "model", f"{name} in the model")
                elif name in names:
                    model, kernel, says = names[name]
                    after = self.wrap(literal, up + model, "model", f"{says} ({name} in the model)")
                    arrow = nodes.reference("", "↗", refuri=kernel, classes=["kernel-source"],
                                            reftitle=f"{name} in the kernel")
                    after.parent.insert(after.parent.index(after) + 1, arrow)
                seen.add(name)

    @staticmethod
    def wrap(literal, target, kind, title):
        link = nodes.reference("", "", refuri=target, classes=[f"{kind}-source"], reftitle=title, internal=True)
        literal.replace_self(link)
        link += literal
        return link


def setup(app):
    app.add_post_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
