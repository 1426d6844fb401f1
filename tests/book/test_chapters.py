"""The committed notebooks: executed in order, without errors, and without what differs from run to run."""

from __future__ import annotations

import base64
import copy

import nbformat
import pytest

from tests.tools.outputs import add_link, chapters, normalise
from tests.tools.stills import is_figure, key_of, stills_of


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert normalise(copy.deepcopy(notebook)) == notebook, f"make outputs  # then commit {path.name}"
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), "run in order: make outputs"
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = [o for o in outputs if {"image/png", "image/jpeg"} & set(o.get("data", ()))]
    assert [o for o in pictures if "still" not in o.metadata] == [], "nobody compares these: draw SVG"


def test_stills_are_small():
    """All in all, as they lie in the repository."""
    notebooks = [nbformat.read(path, as_version=4) for path in chapters()]
    sizes = [len(still.data["image/png"]) for notebook in notebooks for still in stills_of(notebook).values()]
    assert max(sizes) < 80_000
    assert sum(sizes) < 3_000_000


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_each_figure_has_a_still_that_shows_it(path):
    """For those who show notebooks without style and SVG. Nothing but the picture is in it, so nothing is compared."""
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = cell.get("outputs", [])
        stills = [o for o in outputs if "still" in o.get("metadata", {})]
        assert [o.metadata.still for o in stills] == [key_of(o) for o in outputs if is_figure(o)], "make outputs"
        for still in stills:
            before = outputs[outputs.index(still) - 1]
            assert (list(still.data), key_of(before)) == (["image/png"], still.metadata.still)
            assert base64.b64decode(still.data["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_each_chapter_leads_to_its_live_page(path):
    notebook = nbformat.read(path, as_version=4)
    assert add_link(copy.deepcopy(notebook), path.stem) == notebook, "make outputs"
    assert f"_build/html/book/{path.stem}.html" in notebook.cells[1].source


def test_the_live_page_is_where_the_book_is_hosted(tmp_path):
    config = tmp_path / "_config.yml"
    config.write_text('    html_baseurl: "https://books.example/blk/"\n')
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title", id="title")])
    assert "(https://books.example/blk/book/some.html)" in add_link(notebook, "some", config).cells[1].source
