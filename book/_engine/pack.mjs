// Makes the parts of the engine that only a running Pyodide can make. Called by build.py:
//
//   node pack.mjs imports PYODIDE                    the names that the WebAssembly file asks for
//   node pack.mjs stdlib PYODIDE OUT.zip             the standard library, compiled, without doc strings and line numbers
//   node pack.mjs heap PYODIDE STDLIB FILES OUT      the memory in which `blkmodel` is imported
//
// PYODIDE is the unpacked npm package, FILES two JSON objects of path → text: what is to be put into site-packages;
// the first are those that are there once more beside the memory.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { giveStacks, mix, roomy } from "./memory.mjs";

// The same package gives the same bytes: no clock and no chance while the memory is made.
Date.now = () => 1.6e12;
performance.now = () => 0;
Math.random = () => 0.5;
globalThis.crypto.getRandomValues = (array) => array.fill(4);

const [mode, pyodide, ...rest] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(pyodide, name)));
const { loadPyodide } = await load("pyodide.mjs");
const LIMIT = 40 << 20; // bytes of memory: what a phone can spare, and a slow network can carry
const ENV = { PYTHONHASHSEED: "0", PYTHONDONTWRITEBYTECODE: "1", HOME: "/home" };

async function start(options) {
  const { default: createPyodideModule } = await load("pyodide.trimmed.mjs");
  return loadPyodide({ indexURL: pyodide, env: ENV, createPyodideModule, ...options });
}

async function imports() {
  const module = await WebAssembly.compile(fs.readFileSync(path.join(pyodide, "pyodide.asm.wasm")));
  console.log(JSON.stringify(WebAssembly.Module.imports(module).map((each) => each.name)));
}

async function stdlib(out) {
  const python = await start();
  python.FS.writeFile("/in.zip", fs.readFileSync(path.join(pyodide, "python_stdlib.zip")));
  python.runPython(`
import zipfile
from importlib._bootstrap_external import _code_to_hash_pyc

def bare(code):
    """Without line numbers: a quarter of all code, and no reader ever sees a traceback."""
    constants = tuple(bare(each) if isinstance(each, type(code)) else each for each in code.co_consts)
    return code.replace(co_consts=constants, co_linetable=b"")

LEFT_OUT = ("unittest/", "_pyrepl/", "wsgiref/", "xmlrpc/", "pydoc_data/", "ensurepip/", "venv/", "xml/", "email/mime/")
with zipfile.ZipFile("/in.zip") as source, zipfile.ZipFile("/out.zip", "w", zipfile.ZIP_STORED) as target:
    for name in sorted(source.namelist()):
        if name.startswith(LEFT_OUT) or name.endswith("/"):
            continue
        data = source.read(name)
        if name.endswith(".py"):
            code = compile(data, "/lib/python314.zip/" + name, "exec", dont_inherit=True, optimize=2)
            name, data = name + "c", bytes(_code_to_hash_pyc(bare(code), bytes(8), False))
        target.writestr(zipfile.ZipInfo(name), data)
`);
  fs.writeFileSync(out, python.FS.readFile("/out.zip"));
}

function put(python, files) {
  const site = python._api.sitePackages;
  for (const [name, content] of Object.entries(files)) {
    python.FS.mkdirTree(path.dirname(`${site}/${name}`));
    python.FS.writeFile(`${site}/${name}`, content);
  }
}

async function heap(library, files, out) {
  const [shown, rest] = JSON.parse(fs.readFileSync(files, "utf8"));
  const sources = { ...shown, ...rest };
  const codes = await compiled(library, sources);
  const python = await start({ _makeSnapshot: true, stdLibURL: library });
  put(python, { ...sources, ...codes });
  const imported = python.runPython(`
import gc, importlib.resources, linecache, pkgutil, pyodide.ffi, random, sys
importlib.invalidate_caches()
import blkmodel
import blkmodel.live

def skipped(name):
    raise ImportError(name)

for found in pkgutil.walk_packages(blkmodel.__path__, "blkmodel.", onerror=skipped):
    importlib.import_module(found.name)
importlib.resources.files("blkmodel")  # imports what it needs only when it is called
linecache.clearcache()
random.seed(0)
del found, skipped
gc.collect()
sum(name.startswith("blkmodel") for name in sys.modules)
`);
  const used = python._module._sbrk(0);
  clean(python);
  const size = python._module.HEAP8.length;
  if (size > LIMIT) throw new Error(`The memory with blkmodel imported has ${size} bytes; ${LIMIT} is the limit.`);
  const snapshot = python.makeMemorySnapshot();
  await prove(snapshot.slice(), shown, `${out}.empty`);
  mix(snapshot, fs.readFileSync(path.join(pyodide, "pyodide.asm.wasm")));
  fs.writeFileSync(out, snapshot);
  console.log(JSON.stringify({ imported, used, size }));
}

// Put the memory back into a new interpreter that has no library to read, and have it draw every view.
async function prove(snapshot, files, empty) {
  fs.writeFileSync(empty, "");
  const { default: createPyodideModule } = await load("pyodide.trimmed.mjs");
  const python = await start({
    stdLibURL: empty,
    _loadSnapshot: snapshot,
    createPyodideModule: roomy(createPyodideModule, snapshot.length),
  });
  fs.rmSync(empty);
  put(python, files);
  giveStacks(globalThis);
  const drawAll = python.runPython(`
import inspect, json, sys
from blkmodel.live import answer

def draw_all():
    for name in sorted(sys.modules):
        for view in list(vars(sys.modules[name]).values()) if name.startswith("blkmodel.view.") else ():
            if inspect.isfunction(view) and view.__module__ == name and not view.__name__.startswith("_"):
                wanted = inspect.signature(view).parameters.values()
                if wanted and all(each.default is not each.empty for each in wanted):
                    asked = {"view": f"{name}:{view.__name__}", "values": {}, "bounds": {}}
                    drawn = json.loads(answer(json.dumps(asked)))
                    assert not drawn["error"], drawn["html"]

draw_all
`);
  await drawAll.callPromising();
}

// Compiling leaves a lot behind in memory: it is done in an interpreter that is thrown away.
async function compiled(library, files) {
  const python = await start({ stdLibURL: library });
  const compile = python.runPython(`
import ast
from importlib._bootstrap_external import _code_to_hash_pyc

def bare(code):
    """Without line numbers and documentation, which nobody reads in memory."""
    constants = tuple(bare(each) if isinstance(each, type(code)) else each for each in code.co_consts)
    return code.replace(co_consts=constants, co_linetable=b"")

def undocumented(source):
    """Without documentation and the types of functions: what an annotation takes to be worked out is code, too."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = ""
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree

def compiled(source, path):
    code = compile(undocumented(source), path, "exec", dont_inherit=True)
    return bytes(_code_to_hash_pyc(bare(code), bytes(8), False))

compiled
`);
  const site = python._api.sitePackages;
  const made = {};
  for (const [name, source] of Object.entries(files)) {
    if (!name.endsWith(".py")) continue;
    const code = compile(source, `${site}/${name}`);
    made[name.replace(/(.*)\/(.*)\.py$/, "$1/__pycache__/$2.cpython-314.pyc")] = code.toJs();
    code.destroy();
  }
  return made;
}

// What was freed still lies in memory and would travel with it: fill it with zeros, as far as it can be had
// without more memory.
function clean(python) {
  python.runPython("_filled = [[bytes(size) for _ in range(100)] for size in range(0, 480, 16)]; del _filled");
  const module = python._module;
  const taken = [];
  for (let size = 1 << 18; size >= 32; size >>= 1) {
    let top;
    do {
      top = module._sbrk(0);
      const at = module._malloc(size);
      module.HEAPU8.fill(0, at, at + size);
      taken.push(at);
    } while (module._sbrk(0) === top); // else what was free is used up, at this size
  }
  for (const at of taken) module._free(at);
}

try {
  await { imports, stdlib, heap }[mode](...rest);
} catch (error) {
  console.error(error.message); // and not the line of Pyodide that threw it, which is a megabyte long
  process.exit(1);
}
