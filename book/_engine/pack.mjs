// Makes the parts of the engine that only a running Pyodide can make. Called by build.py:
//
//   node pack.mjs imports PYODIDE                    the names that the WebAssembly file asks for
//   node pack.mjs proof PYODIDE MODULE               what an interpreter of that module answers: the same as any other
//   node pack.mjs stdlib PYODIDE OUT.zip             the standard library, compiled, without doc strings and line numbers
//   node pack.mjs heap PYODIDE STDLIB FILES OUT      the memory in which `blkmodel` is imported
//   node pack.mjs compress PYODIDE LEVEL IN OUT      a file, compressed by Zstandard
//
// PYODIDE is the unpacked npm package, FILES two JSON objects of path → text: what is to be put into site-packages;
// the first are those that are there once more beside the memory.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import zlib from "node:zlib";
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

// All that the page or a cell may ask of an interpreter, errors included; build.py compares what two of them answer.
async function proof(module) {
  const { default: createPyodideModule } = await load(module);
  const printed = [];
  const python = await loadPyodide({ indexURL: pyodide, env: ENV, createPyodideModule, stdout: (line) => printed.push(line) });
  giveStacks(globalThis);
  python.FS.mkdirTree("/a/b");
  python.FS.writeFile("/a/b/c", "text");
  python.FS.rename("/a/b/c", "/a/d");
  const files = [python.FS.readFile("/a/d", { encoding: "utf8" }), python.FS.readdir("/a"), python.FS.stat("/a/d").size];
  globalThis.back = (call) => call(41);
  const ask = python.runPython(PROOF);
  const told = await ask.callPromising();
  python._module._emscripten_resize_heap(python._module.HEAP8.length + (16 << 20));
  await ask.callPromising(); // once more, in a memory that has grown
  const restored = await snapshots(createPyodideModule);
  console.log(JSON.stringify({ files, told: JSON.parse(told), printed, restored }));
}

async function snapshots(createPyodideModule) {
  const options = { indexURL: pyodide, env: ENV, createPyodideModule };
  const made = await loadPyodide({ ...options, _makeSnapshot: true });
  made.runPython("import json; kept = [1, 2, 3]");
  const snapshot = made.makeMemorySnapshot();
  const python = await loadPyodide({
    ...options,
    _loadSnapshot: snapshot,
    createPyodideModule: roomy(createPyodideModule, snapshot.length),
  });
  return python.runPython("json.dumps(kept)");
}

const PROOF = `
def ask():
    import contextlib, ctypes, decimal, hashlib, io, json, js, math, os, random, re, select, signal, socket, struct
    import subprocess, sys, tempfile, threading, time, traceback, zlib
    from pyodide.ffi import create_proxy, run_sync, to_js

    def deep(n):
        return deep(n + 1)

    def files():
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "file")
            with open(path, "wb+") as file:
                file.write(b"x" * 70_000)
                file.seek(5)
                file.truncate()
            os.chmod(path, 0o600)
            os.utime(path, (1, 2))
            os.symlink(path, path + "2")
            os.mkdir(os.path.join(place, "folder"))
            os.rmdir(os.path.join(place, "folder"))
            held = os.stat(path), sorted(os.listdir(place)), os.path.realpath(path + "2") == os.path.realpath(path)
            os.rename(path, path + "3")
            os.unlink(path + "2")
            return held[0].st_size, oct(held[0].st_mode), held[0].st_mtime, held[1:], os.access(path + "3", os.W_OK)

    def switched():
        gate = js.Promise.withResolvers()
        js.spawn(create_proxy(lambda _: gate.resolve(7)), None)
        return run_sync(gate.promise)

    def profiled():
        seen = []
        sys.setprofile(lambda frame, event, argument: seen.append(event))
        try:
            math.sqrt(4)
        finally:
            sys.setprofile(None)
        return seen

    def told():
        try:
            1 / 0
        except ZeroDivisionError:
            return traceback.format_exc().splitlines()[-1]

    def grown():
        return sum(map(len, [bytes(1 << 20) for _ in range(64)]))

    tries = [
        files, switched, profiled, told, grown,
        lambda: deep(0), lambda: js.back(lambda n: n + 1), lambda: to_js([1, {"a": 2}]).length, lambda: js.noSuchThing,
        lambda: js.eval("(() => { throw new TypeError('of JavaScript') })()"), lambda: js.JSON.parse("[1, 2]").to_py(),
        lambda: os.environ["HOME"], lambda: os.getcwd(), lambda: os.path.exists("/nowhere"), lambda: open("/nowhere"),
        lambda: os.getpid() > 0, lambda: os.uname().sysname, lambda: os.pipe()[0] > 0, lambda: os.fork(),
        lambda: subprocess.run(["true"]), lambda: threading.Thread(target=print).start(),
        lambda: socket.socket().connect(("127.0.0.1", 1)), lambda: socket.getaddrinfo("localhost", 1)[0][4],
        lambda: select.select([], [], [], 0), lambda: signal.getsignal(signal.SIGINT) is not None,
        lambda: time.strftime("%Y", time.gmtime(0)), lambda: time.localtime(0).tm_year, lambda: time.monotonic() >= 0,
        lambda: time.sleep(0.001), lambda: input(), lambda: sys.stdin.isatty(), lambda: print("printed"),
        lambda: random.Random(1).random(), lambda: hashlib.sha256(b"x").hexdigest(), lambda: zlib.crc32(b"x"),
        lambda: zlib.decompress(zlib.compress(b"x" * 1000)) == b"x" * 1000, lambda: struct.pack("<d", math.pi).hex(),
        lambda: str(decimal.Decimal(1) / 7), lambda: re.sub("(a)(b)", "\\\\2", "abc"), lambda: f"{math.exp(1):.17g}",
        lambda: json.loads(json.dumps({"a": [1.5, None]})), lambda: ctypes.sizeof(ctypes.c_void_p), lambda: exit(3),
    ]
    answers = []
    for each in tries:
        try:
            answers.append(repr(each()))
        except BaseException as error:
            answers.append(f"{type(error).__name__}: {str(error)[:100]}")
    return json.dumps(answers)

ask
`;

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

function compress(level, from, to) {
  const content = fs.readFileSync(from);
  const params = { [zlib.constants.ZSTD_c_compressionLevel]: Number(level) };
  fs.writeFileSync(to, zlib.zstdCompressSync(content, { params, pledgedSrcSize: content.length }));
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
gc.freeze()  # what is imported is never garbage: who looks for garbage need not look at it
gc.set_threshold(10_000, 10, 10)  # a figure makes a machine of some ten thousand objects, and drops it
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
  await { imports, proof, stdlib, heap, compress }[mode](...rest);
} catch (error) {
  console.error(error.message); // and not the line of Pyodide that threw it, which is a megabyte long
  process.exit(1);
}
