"""Pages without inline scripts, so that the book can be served under a policy that forbids them.

The theme and other extensions write small scripts into the pages. Once the pages are written, each run of neighbours
moves into a file that is named after its content.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

INLINE = re.compile(r"(?:<script(?: data-cfasync=\"false\")?>(?:(?!</script>).)*</script>\s*)+", re.DOTALL)
BODY = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)


def move_scripts(app, exception):
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    place = site / "_static" / "inline"
    place.mkdir(exist_ok=True)
    for page in site.rglob("*.html"):
        text = page.read_text("utf8")
        up = os.path.relpath(place, page.parent)

        def moved(found, up=up):
            body = "\n;\n".join(each.strip() for each in BODY.findall(found[0]))
            name = f"{hashlib.sha256(body.encode()).hexdigest()[:12]}.js"
            (place / name).write_text(body + "\n")
            return f'<script src="{up}/{name}"></script>\n'

        changed = INLINE.sub(moved, text)
        if changed != text:
            page.write_text(changed, "utf8")


def setup(app):
    app.connect("build-finished", move_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
