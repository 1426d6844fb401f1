"""Run the chapters and store their outputs, so that a second run changes nothing: `make outputs`.

What differs from run to run, or from machine to machine, is left out: times, versions, the identity of widgets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

BOOK = Path(__file__).resolve().parents[2] / "book"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGETS = "application/vnd.jupyter.widget-view+json"


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


def chapters():
    return sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def main(paths):
    for path in paths:
        print(f"== {path.name}", flush=True)
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False, coalesce_streams=True,
                       store_widget_state=False, resources={"metadata": {"path": str(BOOK)}}).execute()
        nbformat.write(normalise(notebook), path)


if __name__ == "__main__":
    main([Path(p) for p in sys.argv[1:]] or chapters())
