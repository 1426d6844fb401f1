"""Run the chapters and store their outputs, so that a second run changes nothing: `make outputs`.

What differs from run to run, or from machine to machine, is left out: times, versions, the identity of widgets.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.tools import stills

BOOK = Path(__file__).resolve().parents[2] / "book"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGETS = "application/vnd.jupyter.widget-view+json"
LIVE_PAGE = "live-page"


def normalise(notebook):
    """Keep of `notebook` only what a second run would write again; change it in place."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(WIDGETS, None)
    taken = set()
    for number, cell in enumerate(notebook.cells, 1):
        name = cell.get("id")
        if not name or name in taken:
            name = f"cell-{number}"
        taken.add(name)
        cell["id"] = name
    return notebook


def add_link(notebook, name, config=BOOK.parent / "_config.yml"):
    """Have the second cell lead to the live page: where the book is hosted, if _config.yml says so, or built."""
    host = re.search(r'html_baseurl: "?(https?://[^"\s]+)', config.read_text())
    page = f"{host[1].rstrip('/')}/book/{name}.html" if host else f"../_build/html/book/{name}.html"
    text = (f"[This chapter as a live page]({page}): its figures answer to their reader there"
            f"{'' if host else ', once `make book` has built it'}. Here they are stills until their cells run.")
    link = nbformat.v4.new_markdown_cell(text, id=LIVE_PAGE)
    cells = [cell for cell in notebook.cells if cell.id != LIVE_PAGE]
    notebook.cells = [*cells[:1], link, *cells[1:]]
    return notebook


def chapters():
    return sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def main(paths):
    for path in paths:
        print(f"== {path.name}", flush=True)
        notebook = nbformat.read(path, as_version=4)
        have = stills.stills_of(notebook)
        NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, coalesce_streams=True,
                       store_widget_state=False, resources={"metadata": {"path": str(BOOK)}}).execute()
        stills.add(normalise(notebook), have)
        nbformat.write(add_link(notebook, path.stem), path)


if __name__ == "__main__":
    main([Path(p) for p in sys.argv[1:]] or chapters())
