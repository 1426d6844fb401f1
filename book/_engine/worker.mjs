// The engine: a Python interpreter in a worker, with `blkmodel` in it. build.py puts Pyodide's two modules and
// memory.mjs before these lines, so that the worker is one file.

/* global loadPyodide, createPyodideModule, giveStacks, mix, roomy, unpack, LOCK, UNPACKER */

const ENV = { PYTHONHASHSEED: "0", PYTHONDONTWRITEBYTECODE: "1", HOME: "/home" };
const fetchPart = self.fetch.bind(self); // what Pyodide is left with fetches nothing
const functions = new Map(); // what the page calls, "module:name"
let python;

giveStacks(self);
self.tellSaid = (said) => postMessage({ said }); // what a cell prints, while it runs

const fromBase64 = (text) =>
  Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const unpacker = WebAssembly.compile(fromBase64(UNPACKER));

// Parts travel compressed, from wherever the page says they are. While one is unpacked, nothing else can be done here.
async function load(part, progress, before) {
  const pieces = part.base64 ? [fromBase64(part.base64)] : await fetched(part.url, progress);
  if (part.base64) progress(pieces[0].length);
  await before;
  return unpack(unpacker, pieces);
}

async function fetched(url, progress) {
  const response = await fetchPart(url);
  if (!response.ok) throw new Error(`${response.status} ${url}`);
  const reader = response.body.getReader();
  const pieces = [];
  for (let read; !(read = await reader.read()).done; progress(read.value.length)) pieces.push(read.value);
  return pieces;
}

// Put parts where the interpreter looks for them. Files begin with a line that says what they are: path → size.
async function put(name, content) {
  const bytes = await content;
  if (name === "stdlib") return python.FS.writeFile("/lib/python314.zip", bytes);
  let at = bytes.indexOf(10) + 1;
  let made;
  for (const [path, size] of Object.entries(JSON.parse(new TextDecoder().decode(bytes.subarray(0, at))))) {
    const file = `${python._api.sitePackages}/${path}`;
    const folder = file.slice(0, file.lastIndexOf("/"));
    if (folder !== made) python.FS.mkdirTree((made = folder));
    python.FS.writeFile(file, bytes.subarray(at, (at += size)), { canOwn: true });
  }
}

async function add(parts) {
  for (const [name, part] of Object.entries(parts)) await put(name, load(part, () => {}));
  python.pyimport("importlib").invalidate_caches();
}

async function start(parts, plain) {
  let loaded = 0;
  let told = 0;
  const progress = (bytes) => {
    loaded += bytes;
    if (loaded - told > 200000) postMessage({ loaded: (told = loaded) });
  };
  // First what takes others to compile.
  const get = { wasm: load(parts.wasm, progress) };
  for (const [name, part] of Object.entries(parts)) get[name] ??= load(part, progress, get.wasm);
  for (const each of Object.values(get)) each.catch(() => {}); // awaited below
  const wasm = await get.wasm;
  const compiled = WebAssembly.compile(wasm);
  // Pyodide asks for files and a compiled module; both are here. Nothing else is ever asked of anybody.
  const library = plain ? await get.stdlib : new Uint8Array();
  self.fetch = async (address) => {
    if (/wasm$/.test(address)) return new Response();
    if (/python_stdlib\.zip$/.test(address)) return new Response(library);
    throw new Error(`nothing may be fetched: ${address}`);
  };
  WebAssembly.instantiateStreaming = async (_, imports) => {
    const module = await compiled;
    return { module, instance: await WebAssembly.instantiate(module, imports) };
  };
  python = await loadPyodide({
    indexURL: "https://engine.invalid/",
    packageBaseUrl: "https://engine.invalid/",
    lockFileContents: LOCK,
    env: ENV,
    ...(plain
      ? { createPyodideModule }
      : {
          _loadSnapshot: get.heap.then((heap) => mix(heap, wasm)),
          createPyodideModule: async (settings) => roomy(createPyodideModule, (await get.heap).length)(settings),
        }),
  });
  for (const name of Object.keys(parts)) if (!["wasm", "heap", "stdlib"].includes(name)) await put(name, get[name]);
  if (plain) python.pyimport("importlib").invalidate_caches();
}

function found(call) {
  if (!functions.has(call)) {
    const [module, name] = call.split(":");
    functions.set(call, python.pyimport(module)[name]);
  }
  return functions.get(call);
}

// One question at a time: while a task waits, the worker would hear the next.
let turn = Promise.resolve();
onmessage = (message) => {
  clearTimeout(idle);
  turn = turn.then(() => hear(message));
};

// Every figure leaves a machine behind. They are cleared away while nobody asks; not while a stack waits in the page.
const PAUSE = 40; // milliseconds
let idle;
function clearAway() {
  const gc = python.pyimport("gc");
  if (gc.isenabled()) gc.collect();
}

async function hear({ data }) {
  if (data.start) {
    try {
      await start(data.start, data.plain);
      postMessage({ ready: true });
    } catch (error) {
      postMessage({ failed: String(error.message || error).trim().split("\n").pop() });
    }
  } else {
    try {
      if (data.add) await add(data.add);
      const call = data.add ? null : found(data.call);
      const answer = call && (self.canSwitch ? await call.callPromising(data.request) : call(data.request));
      postMessage({ id: data.id, answer });
      idle = setTimeout(clearAway, PAUSE);
    } catch (error) {
      // Only what the memory image lacks comes out of a call as an exception: the page starts again without it.
      postMessage({ id: data.id, missing: String(error.message || error).trim().split("\n").pop() });
    }
  }
}
