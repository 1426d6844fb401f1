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


@pytest.fixture(scope="module")
def workflows():
    import yaml

    found = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert found
    return found


def test_workflows_make_what_there_is(workflows):
    """(`make lint` has a linter look at them. Nothing here can run them, so they do little else than to call make.)"""
    made = {name for flow in workflows.values() for job in flow["jobs"].values() for step in job["steps"]
            for line in re.findall(r"^make (.+)$", step.get("run", ""), re.MULTILINE) for name in line.split()}
    assert made == {"lint", "unit", "chapters", "browser", "publish", "links", "wheel"}
    assert made <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_tests_run_on_every_python_that_the_package_takes(workflows):
    import tomllib

    versions = workflows["tests"]["jobs"]["model"]["strategy"]["matrix"]["python"]
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert versions == [f"3.{minor}" for minor in range(11, 15)]
    assert least == f">={versions[0]}"


def test_the_wheel_of_a_release_is_the_one_that_was_tested(workflows):
    rule = re.search(r"^wheel: chapters .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert "_build/alone/*.whl" in rule, "make chapters has run the chapters with that one"
    steps = workflows["release"]["jobs"]["wheel"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[0] == "make wheel"
    assert not any("build" in run.split() or "pip" in run for run in runs)
    assert steps[-1]["with"]["path"] == "_build/dist/*"
    assert not any("checkout" in step.get("uses", "") for step in workflows["release"]["jobs"]["release"]["steps"])


def test_the_package_needs_only_python():
    import tomllib

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"] == []


def test_the_package_ships_all_of_itself():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "blkmodel").rglob("__init__.py")}
    assert set(listed) == there | {"blkmodel.recordings"}
