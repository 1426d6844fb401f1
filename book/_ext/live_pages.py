"""Pages with a live figure or a cell get its script and style, and the site gets the engine that they load at the first
touch. A cell has its name in the notebook as its identity in the page: `cell-NAME`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from docutils import nodes

ENGINE = Path(__file__).resolve().parents[2] / "_build" / "engine"


def parts():
    """What the script has to know of the engine: the files it is made of, and how much there is to load."""
    return json.loads((ENGINE / "manifest.json").read_text())["parts"]


def say_names(app, docname, source):
    if app.env.doc2path(docname).endswith(".ipynb"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            cell["metadata"]["name"] = cell["id"]
        source[0] = json.dumps(notebook)


def name_cells(app, doctree):
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            cell["ids"].append(f"cell-{cell['cell_metadata']['name']}")


def add_script(app, pagename, templatename, context, doctree):
    body = context.get("body", "")
    cells = 'id="cell-' in body
    if cells or 'class="blk-live"' in body:
        app.add_css_file("live.css")
        app.add_js_file("live.js", loading_method="defer", **{"data-engine": json.dumps(parts())})
    if cells:
        app.add_css_file("cells.css")
        app.add_js_file("cells.js", loading_method="defer")
    if cells and 'class="exercise' in body:
        app.add_js_file("exercises.js", loading_method="defer")


def add_engine(app, exception):
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "engine"
        shutil.copytree(ENGINE, target, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)


def setup(app):
    app.connect("source-read", say_names)
    app.connect("doctree-read", name_cells)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", add_engine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
