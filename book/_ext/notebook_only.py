"""What is in the notebooks for those who read them elsewhere, and is left out of the book: see tests/tools/stills.py.

Pictures of figures, for programs that take style and SVG out of a notebook; and the cell that leads to the live page.
"""

from __future__ import annotations

import json


def leave_out(app, docname, source):
    if not app.env.doc2path(docname).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "live-page"]
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = [each for each in cell["outputs"] if "still" not in each.get("metadata", {})]
    source[0] = json.dumps(notebook)


def setup(app):
    app.connect("source-read", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
