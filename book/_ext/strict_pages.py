"""Pages without inline scripts, so that the book can be served under a policy that forbids them.

The theme's own are left out by book/_templates; what extensions add to every page is gathered here, in a file that is
named after its content.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

# What a page may do: as README.md gives it to who hosts the book, but for what only a server can say.
POLICY = ("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
          "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
          "form-action 'self'")
EARLY = 300  # behind the file that declares what these scripts set, before those that read it
FOR_VERSIONS = "DOCUMENTATION_OPTIONS.pagename"  # differs on every page, and only a choice of versions would read it


def gather_scripts(app, pagename, templatename, context, doctree):
    inline = [each for each in context["script_files"] if "body" in each.attributes]
    bodies = dict.fromkeys(each.attributes["body"].strip() for each in inline)
    body = "\n".join(each for each in bodies if not each.startswith(FOR_VERSIONS)) + "\n"
    name = f"inline/{hashlib.sha256(body.encode()).hexdigest()[:12]}.js"
    path = Path(app.outdir) / "_static" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body, "utf8")
    context["script_files"][:] = [each for each in context["script_files"] if each not in inline]
    app.add_js_file(name, priority=EARLY)


def leave_out(app, exception):
    """Remove Font Awesome, which no page asks for."""
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)
        for path in (static / "scripts").glob("fontawesome*"):
            path.unlink()


def setup(app):
    app.connect("html-page-context", gather_scripts, priority=900)
    app.connect("build-finished", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
