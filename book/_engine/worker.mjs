// The engine: a Python interpreter in a worker, with `blkmodel` in it. build.py puts Pyodide's two modules and
// memory.mjs before these lines (loadPyodide, createPyodideModule, giveStacks, mix, roomy), so that the worker is one file.

/* global loadPyodide, createPyodideModule, giveStacks, mix, roomy, LOCK */

const ENV = { PYTHONHASHSEED: "0", PYTHONDONTWRITEBYTECODE: "1", HOME: "/home" };
const fetchPart = self.fetch.bind(self); // what Pyodide is left with fetches nothing
const functions = new Map(); // what the page calls, "module:name"
let python;

giveStacks(self);
self.tellSaid = (said) => postMessage({ said }); // what a cell prints, while it runs

// Parts travel compressed by gzip: whole, from wherever the page says they are.
async function load(part, progress) {
  let body;
  if (part.base64) {
    const bytes = Uint8Array.fromBase64
      ? Uint8Array.fromBase64(part.base64)
      : Uint8Array.from(atob(part.base64), (c) => c.charCodeAt(0));
    body = new Blob([bytes]).stream();
    progress(bytes.length);
  } else {
    const response = await fetchPart(part.url);
    if (!response.ok) throw new Error(`${response.status} ${part.url}`);
    const count = new TransformStream({
      transform(chunk, to) {
        progress(chunk.length);
        to.enqueue(chunk);
      },
    });
    body = response.body.pipeThrough(count);
  }
  const unpacked = new Response(body.pipeThrough(new DecompressionStream("gzip")));
  return new Uint8Array(await unpacked.arrayBuffer());
}

// Put parts where the interpreter looks for them.
async function put(name, content) {
  const bytes = await content;
  if (name === "stdlib") return python.FS.writeFile("/lib/python314.zip", bytes);
  const site = python._api.sitePackages;
  for (const [path, text] of Object.entries(JSON.parse(new TextDecoder().decode(bytes)))) {
    python.FS.mkdirTree(`${site}/${path.slice(0, path.lastIndexOf("/"))}`);
    python.FS.writeFile(`${site}/${path}`, text);
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
  const get = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, load(part, progress)]));
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
  turn = turn.then(() => hear(message));
};

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
    } catch (error) {
      // Only what the memory image lacks comes out of a call as an exception: the page starts again without it.
      postMessage({ id: data.id, missing: String(error.message || error).trim().split("\n").pop() });
    }
  }
}
