"""The repository itself: what may lie where, and what may not be in it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = {"book", "blkmodel", "tests", "_config.yml", "_toc.yml", "requirements.in", "requirements.txt", "README.md",
       "Makefile", "pyproject.toml", "LICENSE", "LICENSE-text", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md",
       "MANIFEST.in", "CITATION.cff"}
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|index-url", re.IGNORECASE)
MACHINE = re.compile(r"/(?:work|home|root|Users)/\w")
HERE = "tests/test_repository.py"


@pytest.fixture(scope="module")
def files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git work tree")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [name for name in listing.split("\0") if name and (ROOT / name).exists()]


def test_top_level(files):
    top = {name.split("/")[0] for name in files}
    assert {name for name in top if not name.startswith(".")} <= TOP


def test_requirements_are_pinned():
    """Each in one version and with the digests of its files, and all that the project names are among them."""
    text = (ROOT / "requirements.txt").read_text()
    entries = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "").splitlines()
    pinned = re.compile(r"([\w.-]+)==[\w.]+(?: ; [^#]+?)?(?: +--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in entries if not pinned.fullmatch(entry)] == []
    wanted = re.findall(r"^[\w.-]+", (ROOT / "requirements.in").read_text(), re.MULTILINE)
    assert wanted
    assert set(wanted) <= {pinned.fullmatch(entry)[1] for entry in entries}


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE], ids=["registries", "paths of a machine"])
def test_no_trace_of_a_machine(files, pattern):
    found = []
    for name in files:
        if name == HERE or name.startswith("book/_static/vendor/"):
            continue
        try:
            text = (ROOT / name).read_text("utf8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {hit.group()}" for hit in pattern.finditer(text)]
    assert found == []


def test_the_package_needs_only_python():
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] == []


def test_the_package_ships_all_of_itself():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "blkmodel").rglob("__init__.py")}
    assert set(listed) == there | {"blkmodel.recordings"}
