"""`python -m tests.tools.alone`: the chapters as somebody has them who has only the wheel.

Builds the wheel, installs it into _build/alone/site, and copies the chapters into _build/alone/chapters, which holds
nothing else. `make chapters` runs them there, so that none leans on what lies in a checkout.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.tools.outputs import chapters

ROOT = Path(__file__).resolve().parents[2]
ALONE = ROOT / "_build" / "alone"
SOURCE = ("blkmodel", "tests/recordings", "pyproject.toml", "README.md", "LICENSE")


def main():
    """Make the folder anew."""
    shutil.rmtree(ALONE, ignore_errors=True)
    for name in SOURCE:  # a copy: a build leaves things beside its source
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (ALONE / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, ALONE / "source" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", ALONE / "wheel", ALONE / "source"],
                   check=True, stdout=subprocess.DEVNULL)
    wheel, = (ALONE / "wheel").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--target", ALONE / "site", wheel], check=True)
    shutil.rmtree(ALONE / "source")
    (ALONE / "chapters").mkdir()
    for path in chapters():
        shutil.copy(path, ALONE / "chapters")


if __name__ == "__main__":
    main()
