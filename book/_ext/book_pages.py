"""What Sphinx does not do by itself.

* A page whose front matter says ``lang: zh`` is marked as Chinese, for fonts and for screen readers.
* Every module of `blkmodel` gets a page with its source, so that a figure or a chapter can link to a function:
  ``model/block/blk_mq.html#blk_mq_alloc_rq_map``.
* The site's own index.html leads to the first chapter, and names the icon, which a browser would else ask for in vain.
"""

from __future__ import annotations

import ast
import html
from pathlib import Path

from kernel_names import page_at

from blkmodel.reference.rooms import first_sentence

ROOT = Path(__file__).resolve().parents[2]


def set_language(app, pagename, templatename, context, doctree):
    lang = (context.get("meta") or {}).get("lang")
    if lang:
        context["body"] = f'<div lang="{html.escape(lang)}">{context["body"]}</div>'


def anchors(source):
    """Line number → names of the functions, classes and methods that begin there."""
    found = {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found.setdefault(first, prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


def model_pages(app):
    """One page for each module, and one that lists them."""
    links = []
    for path in sorted((ROOT / "blkmodel").rglob("*.py")):
        source = path.read_text("utf8")
        if not source.strip():
            continue
        module = path.relative_to(ROOT / "blkmodel")
        page = page_at(module.as_posix())
        lines = app.builder.highlighter.highlight_block(source, "python").split("\n")
        start = lines[0].index("<pre>") + len("<pre>")
        lines[0] = lines[0][:start] + lines[0][start:].removeprefix("<span></span>")
        for number, name in anchors(source).items():
            lines[number - 1] = f'<span class="anchor" id="{name}"></span>{lines[number - 1]}'
        title = f"blkmodel/{module.as_posix()}"
        body = f'<h1 class="module">{title}</h1>\n' + "\n".join(lines)
        links.append((page, title))
        says = first_sentence(ast.get_docstring(ast.parse(source)))
        yield page, {"title": title, "body": body, "description": says}, "page.html"
    items = "".join(f'<li><a href="{page.removeprefix("model/")}.html">{title}</a></li>' for page, title in links)
    yield "model/modules", {"title": "The model", "body": f"<h1>The model</h1><ul>{items}</ul>"}, "page.html"


FRONT_DOOR = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="_static/favicon.svg">{canonical}
<meta http-equiv="refresh" content="0; url=book/index.html">
<a href="book/index.html">{title}</a>
"""


def write_front_door(app, exception):
    if exception is None and app.builder.format == "html":
        base = app.config.html_baseurl
        canonical = f'\n<link rel="canonical" href="{base}book/index.html">' if base else ""
        page = FRONT_DOOR.format(title=html.escape(app.config.html_title), canonical=canonical)
        (Path(app.outdir) / "index.html").write_text(page, "utf8")


def setup(app):
    app.connect("html-page-context", set_language)
    app.connect("html-collect-pages", model_pages)
    app.connect("build-finished", write_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
