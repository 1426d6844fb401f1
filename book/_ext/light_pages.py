"""Pages without Font Awesome, whose script and fonts weigh more than all else. book.css draws the few icons."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

SCRIPT = re.compile(r'\s*<!-- So that users can add custom icons -->\s*<script [^>]*/fontawesome\.js[^>]*></script>')


def leave_out(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for page in site.rglob("*.html"):
        text = page.read_text("utf8")
        if (changed := SCRIPT.sub("", text)) != text:
            page.write_text(changed, "utf8")
    static = site / "_static"
    shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)
    for path in (static / "scripts").glob("fontawesome*"):
        path.unlink()


def setup(app):
    app.connect("build-finished", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
