"""`make lab`: the stored figures are there at first sight, before any cell runs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import urllib.request

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from tests.book.conftest import ROOT, patient
from tests.book.live import end, until
from tests.tools.outputs import chapters


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="module")
def recipe(data):
    """The command that opens JupyterLab, once those before it have run."""
    lines = subprocess.run(["make", "--dry-run", "lab", f"LAB={data}", f"CURDIR={ROOT}"], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    trust, lab = (line for line in lines if "/jupyter " in line)
    subprocess.run(trust, shell=True, cwd=ROOT, check=True)
    return lab


def test_it_trusts_the_chapters(recipe, data):
    assert f"JUPYTER_DATA_DIR={data}" in recipe, "what is trusted is kept where JupyterLab looks"
    notary = NotebookNotary(data_dir=str(data))
    assert [path.name for path in chapters() if not notary.check_signature(nbformat.read(path, as_version=4))] == []


@pytest.mark.site
def test_figures_are_there_at_first_sight(recipe, data, browser):
    """A figure that was stripped has lost its style and its drawing."""
    log = data / "log"
    with log.open("w") as said:
        server = subprocess.Popen(
            f"exec env {recipe} --no-browser --port=0 --IdentityProvider.token= --LabApp.news_url=None", shell=True,
            cwd=ROOT, stdout=said, stderr=said, env=os.environ | {"JUPYTER_CONFIG_DIR": str(data / "config")})
    try:
        address = address_in(log)
        page = patient(browser.new_page())
        page.goto(f"{address}/tree/getting-a-tag.ipynb")
        page.wait_for_selector(".jp-Notebook .blk svg")
        assert page.locator(".jp-Notebook .blk-live .blk > style").count() > 0
        page.close()
    finally:
        end(server)  # which may wait for a kernel that is just beginning


def address_in(log):
    """Where the server says that it listens, once it does."""
    def answers():
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab", log.read_text()):
            with contextlib.suppress(OSError), urllib.request.urlopen(found[0]):
                return found[0]
        return None

    try:
        return until(answers)
    except AssertionError as why:
        raise AssertionError(f"JupyterLab does not start: {log.read_text()}") from why
