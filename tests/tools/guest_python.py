"""What this Python needs to run `blkmodel capture` and `check` where there is nothing else: in a booted kernel.

Both are run here once, and whatever they open is packed, compiled, beside the interpreter and the libraries that it is
linked with, each at the path that it has here.
"""

import importlib.util
import json
import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import blkmodel

PACKAGE = Path(blkmodel.__file__).parents[1]
STDLIB = Path(os.__file__).parent
EXECUTABLE = os.path.realpath(sys.executable)
_LIST = """
import json, os, runpy, sys
listed, recording = sys.argv[1:]
opened = {recording}
sys.addaudithook(lambda event, about: event == "open" and isinstance(about[0], str) and opened.add(about[0]))
for words in ["capture", "-o", listed], ["check", recording]:
    sys.argv[1:] = words
    try:
        runpy.run_module("blkmodel", run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
opened |= {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
with open(listed, "w") as file:
    json.dump(sorted(opened), file)
"""


def why_not():
    """Why it cannot be packed; nothing where it can."""
    if platform.machine() != "x86_64" or sys.implementation.name != "cpython":
        return "only CPython on x86-64 is packed"
    return "" if shutil.which("ldd") else "there is no ldd"


def files(recording):
    """Path, without the first slash → bytes. recording: a file that is checked to see what that opens."""
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place, "listed")
        subprocess.run([EXECUTABLE, "-S", "-B", "-c", _LIST, listed, recording], check=True, capture_output=True,
                       env={"PYTHONPATH": str(PACKAGE)})
        found = {}
        for name in json.loads(listed.read_text()):
            path = Path(name)
            if not path.is_file() or not any(map(path.is_relative_to, (STDLIB, PACKAGE / "blkmodel"))):
                continue
            if path.suffix == ".pyc":
                path = Path(importlib.util.source_from_cache(name))
            if path.suffix == ".py":
                made = py_compile.compile(str(path), f"{place}/made.pyc", doraise=True,
                                          invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
                found[f"{path}c"[1:]] = Path(made).read_bytes()
            else:
                found[str(path)[1:]] = path.read_bytes()
        linked = [EXECUTABLE, *(f"/{name}" for name in found if name.endswith(".so"))]
        said = subprocess.run(["ldd", *linked], check=True, capture_output=True, text=True).stdout
        for name in {EXECUTABLE, *re.findall(r"(?:=> |^\t)(/\S+)", said, re.MULTILINE)}:
            found[name[1:]] = Path(name).read_bytes()
    return {name: data or b"\n" for name, data in found.items()}
