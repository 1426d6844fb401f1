"""`python -m tests.tools.alone`: the chapters as somebody has them who has only the wheel.

Builds the source distribution, and from that the wheel. Installs it with what `blkmodel[book]` asks for, and nothing
else, into _build/alone/venv, and copies the chapters into _build/alone/chapters, which holds nothing else. `make
chapters` runs them there, so that none leans on what lies in a checkout or was installed for the tests.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

from tests.tools.outputs import chapters

ROOT = Path(__file__).resolve().parents[2]
ALONE = ROOT / "_build" / "alone"
LEFT_OUT = (".*", "_build", "*.egg-info", "__pycache__")
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


def main():
    """Make the folder anew; the environment only where what it has to have has changed."""
    ALONE.mkdir(parents=True, exist_ok=True)
    for path in ALONE.iterdir():
        if path.name != "venv":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    wheel = wheel_of(source_distribution(ALONE), ALONE)
    pins = ROOT / "requirements.txt"
    key = sha256(pins.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    venv, stamp = ALONE / "venv", ALONE / "venv" / "made-for"
    if not stamp.exists() or stamp.read_text() != key:
        print("Installing what the chapters need into _build/alone/venv (about a minute, 400 MB)", flush=True)
        environment(venv, "-c", pins, f"{wheel}[book]")
        stamp.write_text(key)
    else:
        run(venv / "bin" / "python", *PIP, "install", "--no-deps", "--force-reinstall", wheel)
    kernel = ALONE / "jupyter" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps({
        "argv": [str(venv / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "the wheel alone", "language": "python"}))
    (ALONE / "chapters").mkdir()
    for path in chapters():
        shutil.copy(path, ALONE / "chapters")


if __name__ == "__main__":
    main()
