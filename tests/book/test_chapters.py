"""The committed notebooks: executed in order, without errors, and without what differs from run to run."""

from __future__ import annotations

import copy

import nbformat
import pytest

from tests.tools.outputs import chapters, normalise


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_notebook(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert normalise(copy.deepcopy(notebook)) == notebook, f"make outputs  # then commit {path.name}"
    code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1)), "run in order: make outputs"
    outputs = [o for c in code for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    pictures = {"image/png", "image/jpeg"} & {kind for o in outputs for kind in o.get("data", ())}
    assert not pictures, "nobody compares these: draw SVG"
