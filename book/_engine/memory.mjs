// Much of a fresh memory is what the WebAssembly file itself holds. A snapshot travels mixed with that (exclusive
// or, its own inverse), which leaves zeros there: a quarter less to load.

const DATA = 11; // the number of the data section
const CONSTANT = 0x41; // i32.const, where a segment's place in memory stands

export function mix(snapshot, wasm) {
  const start = new Uint32Array(snapshot.buffer, snapshot.byteOffset, 2)[1]; // behind Pyodide's own header
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  };
  while (at < wasm.length) {
    const id = wasm[at++];
    const end = number() + at;
    for (let left = id === DATA ? number() : 0; left > 0; left--) {
      const active = number() === 0;
      let place = 0;
      if (active) {
        if (wasm[at++] !== CONSTANT) throw new Error("a data segment whose place is not a constant");
        place = start + number();
        at++;
      }
      const size = number();
      if (active) for (let i = 0; i < size; i++) snapshot[place + i] ^= wasm[at + i];
      at += size;
    }
    at = end;
  }
  return snapshot;
}

// Each part, which has come in pieces, is unpacked by an instance of its own of zstddec's WebAssembly module: what it
// leaves in its memory is not copied, and is gone with the instance.
export async function unpack(unpacker, pieces) {
  const { exports } = await WebAssembly.instantiate(await unpacker, { env: { emscripten_notify_memory_growth() {} } });
  const length = pieces.reduce((sum, each) => sum + each.length, 0);
  const from = exports.malloc(length);
  let end = from;
  for (const each of pieces) {
    new Uint8Array(exports.memory.buffer).set(each, end);
    end += each.length;
  }
  const size = Number(exports.ZSTD_findDecompressedSize(from, length)); // negative if it is none of Zstandard's
  const to = size >= 0 && exports.malloc(size);
  if (!to || exports.ZSTD_decompress(to, size, from, length) !== size) throw new Error("a part is not whole");
  return new Uint8Array(exports.memory.buffer, to, size);
}

// What tasks of the model stand on that sleep while others run: stacks that wait for a promise (blkmodel/sim/ground.py).
// An interpreter without JavaScript Promise Integration draws all figures but those in which a task overtakes another.
export function giveStacks(to) {
  to.canSwitch = "Suspending" in WebAssembly;
  to.spawn = (serve, stack) => serve.callPromising(stack);
}

// Pyodide puts a snapshot into the memory that its module begins with, whose size is fixed, and fails if that is too
// small (pyodide#6254). A module whose memory has been made to grow first has room.
export const roomy = (createPyodideModule, size) => async (settings) => {
  const module = await createPyodideModule(settings);
  if (module.HEAP8.length < size) module._emscripten_resize_heap(size);
  return module;
};
