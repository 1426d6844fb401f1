"""Pages with a live figure get its script and style, and the site gets the engine that they load at the first touch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "_build" / "engine"


def parts():
    """What the script has to know of the engine: the files it is made of, and how much there is to load."""
    return json.loads((ENGINE / "manifest.json").read_text())["parts"]


def add_script(app, pagename, templatename, context, doctree):
    if 'class="blk-live"' in context.get("body", ""):
        app.add_css_file("live.css")
        app.add_js_file("live.js", loading_method="defer", **{"data-engine": json.dumps(parts())})


def add_engine(app, exception):
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "engine"
        shutil.copytree(ENGINE, target, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)


def setup(app):
    app.connect("html-page-context", add_script)
    app.connect("build-finished", add_engine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
