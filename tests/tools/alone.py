"""`python -m tests.tools.alone`: the chapters as somebody has them who has only the wheel.

Builds the source distribution, and from that the wheel. Installs it into _build/alone/venv with what `blkmodel[book]`
asks for, and nothing else, and copies the chapters into _build/alone/chapters, beside them only what nbval is told.
`make chapters` runs them there, so that none leans on what lies in a checkout or was installed for the tests. What the
wheel asks for is taken from our own environment, which has the pinned versions: nothing is loaded a second time.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.tools.outputs import chapters

ROOT = Path(__file__).resolve().parents[2]
ALONE = ROOT / "_build" / "alone"
LEFT_OUT = (".*", "_build", "*.egg-info", "__pycache__")
CONFTEST = '''
"""A kernel whose port another program took between its choice and its use dies: it is started again."""

from nbval import kernel

start = kernel.start_new_kernel


def start_new_kernel(*args, left=2, **kwargs):
    try:
        return start(*args, **kwargs)
    except RuntimeError:
        if not left:
            raise
        return start_new_kernel(*args, left=left - 1, **kwargs)


kernel.start_new_kernel = start_new_kernel
'''.lstrip()
PIP = ["-m", "pip", "--disable-pip-version-check", "-q"]


def run(*command):
    """Run a program of ours; what it prints is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def source_distribution(place):
    """Build the source distribution in an empty directory; return its path."""
    shutil.copytree(ROOT, place / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))  # a build leaves things behind
    run(sys.executable, "-c", "import os, sys; from setuptools import build_meta as build; os.chdir(sys.argv[1]); "
        "build.build_sdist('..')", place / "source")
    found, = place.glob("*.tar.gz")
    return found


def wheel_of(source, place):
    """Build the wheel of a source distribution, from nothing else; return its path."""
    with tarfile.open(source) as archive:
        archive.extractall(place / "unpacked", filter="data")
    inside, = (place / "unpacked").iterdir()
    run(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", place, inside)
    found, = place.glob("*.whl")
    return found


def environment(place, *wanted):
    """Make an environment that has what is asked for, and nothing else; return its Python."""
    run(sys.executable, "-m", "venv", "--clear", place)
    run(place / "bin" / "python", *PIP, "install", *wanted)
    return place / "bin" / "python"


def add_needed(site, package, extra):
    """Put beside an installed package what it asks for with that extra, and what that asks for in turn."""
    there, = metadata.distributions(name=package, path=[str(site)])
    todo = _asks_for(there, extra)
    done: set[tuple[str, str]] = set()
    while todo:
        wanted = todo.pop()
        found = metadata.distribution(wanted.name)
        for each in {"", *wanted.extras} - {extra for name, extra in done if name == wanted.name}:
            done.add((wanted.name, each))
            todo += _asks_for(found, each)
        for file in found.files:
            path = site / file
            if ".." not in file.parts and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.hardlink_to(file.locate())  # some 400 MB
                except OSError:  # another file system
                    shutil.copyfile(file.locate(), path)


def _asks_for(distribution, extra):
    wanted = map(Requirement, distribution.requires or ())
    return [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": extra})]


def main():
    """Make the folder anew."""
    shutil.rmtree(ALONE, ignore_errors=True)
    ALONE.mkdir(parents=True)
    wheel, venv = wheel_of(source_distribution(ALONE), ALONE), ALONE / "venv"
    environment(venv, "--no-index", wheel)
    site, = venv.glob("lib/python*/site-packages")
    add_needed(site, "blkmodel", "book")
    run(venv / "bin" / "python", *PIP, "check")
    kernel = ALONE / "jupyter" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({
        "argv": [str(venv / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "the wheel alone", "language": "python"}))
    (ALONE / "chapters").mkdir()
    (ALONE / "chapters" / "conftest.py").write_text(CONFTEST)
    for path in chapters():
        shutil.copy(path, ALONE / "chapters")


if __name__ == "__main__":
    main()
