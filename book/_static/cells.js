// Makes the cells of a page run. They share one namespace, in an interpreter of their own; a cell brings those above it
// that have not run. What a reader writes, and which exercises are done, stays in this browser.

(() => {
  "use strict";

  const { Engine, adopt, forget, loadEditor, model } = window.blkPage;
  const here = location.pathname.split("/").pop();
  const LONGEST = 6000; // letters of code that an address can carry
  const HINT = 3000; // milliseconds that the editor waits for what a name is
  const cells = [];

  // What is kept: page → name → what. A browser that keeps nothing is no reason to fail.
  const kept = (key) => {
    try {
      return Object(JSON.parse(localStorage.getItem(key)) || {});
    } catch {
      return {};
    }
  };
  function keep(key, name, what) {
    const all = kept(key);
    all[here] = { ...all[here], [name]: what };
    if (what === undefined) delete all[here][name];
    try {
      localStorage.setItem(key, JSON.stringify(all));
    } catch {
      // it is there until the page is left
    }
  }

  const make = (html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    return made.content.firstElementChild;
  };

  // The interpreter ---------------------------------------------------------------------------------------------------

  const ANEW = "What cells had defined is gone; the next run begins anew.";
  const AGAIN = "again"; // the reason of a wait that ended because the interpreter is started in another way
  let running = null; // the cell that the reader waits for
  let speaking = null; // the same, once it is its turn, and not that of a cell before it
  let fail = () => {}; // ends the wait, when the interpreter is gone
  let begun = () => {};
  let library = false;

  const not = (why) => `The model could not be loaded (${why}).`;
  const engine = new Engine(
    {
      tell: (words, share) => running && running.say(words && share ? `${words} ${Math.round(100 * share)}%` : words),
      ready: () => {
        begun();
        hint("describe", { before: "", after: "", above: [] }); // nothing: but what answers is loaded before it is needed
      },
      said: (text) => speaking && speaking.hear(text),
      lost: (why) => gone(why ? not(why) : AGAIN),
      ended: (why) => gone(`The interpreter has ended (${why}). ${ANEW}`),
    },
    ["cells", "package"],
  );

  function gone(why) {
    library = engine.plain;
    for (const cell of cells) cell.ran = null;
    fail(new Error(why));
  }

  const asked = (ask) =>
    new Promise((resolve, reject) => {
      fail = reject;
      ask(resolve);
    });
  const call = (name, request) => asked((done) => engine.ask(name, request, null, done));

  const ready = () =>
    asked((done) => {
      begun = done;
      if (engine.ready) done();
      else {
        engine.failed = ""; // the reader asks anew: it may be there by now
        engine.start();
      }
    });

  // The editor ----------------------------------------------------------------------------------------------------------

  // The plain one, which is there at once, and wherever the other cannot be loaded.
  class Plain {
    constructor({ label, text, changed, run }) {
      this.root = make(
        `<textarea class="blk-code" spellcheck="false" autocapitalize="off" autocomplete="off" autocorrect="off"
           wrap="off"></textarea>`,
      );
      this.root.setAttribute("aria-label", label);
      this.root.addEventListener("input", () => (this.fit(), changed()));
      this.root.addEventListener("keydown", (event) => this.key(event, run));
      this.root.addEventListener("compositionstart", () => (this.composing = true));
      this.root.addEventListener("compositionend", () => (this.composing = false));
      this.text = text;
    }

    get text() {
      return this.root.value;
    }

    set text(text) {
      this.root.value = text;
      this.fit();
    }

    get selection() {
      return [this.root.selectionStart, this.root.selectionEnd];
    }

    focus() {
      this.root.focus();
    }

    remove() {
      this.root.remove();
    }

    fit() {
      this.root.rows = this.text.split("\n").length + 1;
    }

    key(event, run) {
      const field = this.root;
      const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
      const leaving = this.leaving; // after Escape the tab key moves on, as everywhere else
      this.leaving = key === "Escape" || (leaving && key === "Shift");
      if (key === "Enter" && (shiftKey || ctrlKey || metaKey)) {
        event.preventDefault();
        run();
      } else if (key === "Tab" && !leaving && !ctrlKey && !metaKey && !altKey) {
        event.preventDefault();
        const { value, selectionStart, selectionEnd } = field;
        const begin = value.lastIndexOf("\n", selectionStart - 1) + 1;
        if (!shiftKey && selectionStart === selectionEnd) {
          this.insert(" ".repeat(4 - ((selectionStart - begin) % 4)));
        } else {
          const lines = value.slice(begin, selectionEnd).split("\n");
          const moved = lines.map((line) => (shiftKey ? line.replace(/^ {1,4}/, "") : line && `    ${line}`)).join("\n");
          field.setSelectionRange(begin, selectionEnd);
          this.insert(moved);
          field.setSelectionRange(begin, begin + moved.length);
        }
      } else if (key === "Enter") {
        event.preventDefault();
        const line = field.value.slice(field.value.lastIndexOf("\n", field.selectionStart - 1) + 1, field.selectionStart);
        this.insert(`\n${line.match(/^ */)[0]}${/:\s*(#.*)?$/.test(line) ? "    " : ""}`);
      }
    }

    insert(text) {
      // The old way, since it alone can be undone by the reader.
      if (document.execCommand(text ? "insertText" : "delete", false, text)) return;
      this.root.setRangeText(text, ...this.selection, "end");
      this.root.dispatchEvent(new Event("input"));
    }
  }

  let Editor = Plain;
  let editing = false;

  // The reader edits: the better editor comes, and takes the place of those that are open; and the interpreter, for its hints.
  async function edits() {
    if (editing) return;
    editing = true;
    engine.start();
    try {
      await loadEditor();
      ({ Editor } = window.blkEditor);
      for (const cell of cells) cell.renew();
    } catch {
      // the plain one does
    }
  }

  // What is asked of the interpreter, if it has nothing else to do; an answer that does not come is done without.
  const hint = (name, request) =>
    new Promise((resolve) => {
      if (!engine.ready || running) return resolve(undefined);
      engine.ask(`cells:${name}`, JSON.stringify(request), null, resolve);
      setTimeout(resolve, HINT);
    });

  // Without it, the words that the page's cells have: behind a dot those that stand behind one.
  function words(before) {
    const [, dot, word] = /(\.?)\s*(\w*)$/.exec(before);
    if (/^\d/.test(word)) return null;
    const found = cells.flatMap((cell) => [...cell.source.matchAll(/(\.?)\b([A-Za-z_]\w*)/g)]);
    const fit = new Set(found.filter((each) => each[1] === dot && each[2] !== word).map((each) => each[2]));
    return { word, more: false, options: [...fit].map((label) => ({ label })) };
  }

  // A cell --------------------------------------------------------------------------------------------------------------

  class Cell {
    constructor(root) {
      this.root = root;
      this.name = root.id.replace("cell-", "");
      this.input = root.querySelector(".cell_input");
      this.code = this.input.querySelector(".highlight");
      this.stored = root.querySelector(".cell_output");
      this.author = this.code.querySelector("pre").textContent.replace(/\n$/, "");
      this.own = root.classList.contains("blk-own"); // the reader's answer to an exercise: it is always open
      this.ran = null; // the text that ran last, in the interpreter that there is now
      this.outputs = null;
      const button = (what, label, says) =>
        `<button type="button" data-do="${what}" aria-label="${label} (${says}${this.name})">${label}</button>`;
      this.bar = make(
        `<div class="blk-bar">${button("run", "Run", "cell ")}${button("edit", "Edit", "cell ")}` +
          `${button("link", "Link", "to my text of cell ")}${button("reset", "Reset", "cell ")}<span role="status"></span></div>`,
      );
      this.status = this.bar.querySelector("span");
      this.input.append(this.bar);
      this.bar.addEventListener("click", ({ target }) => target.dataset.do && this[target.dataset.do]());
      Object.assign(root, { blkCell: this });
      if (this.own) this.open(this.author);
    }

    get source() {
      return this.field ? this.field.text : this.author;
    }

    get changed() {
      return this.source !== this.author;
    }

    say(words) {
      this.status.textContent = words;
    }

    button(what) {
      return this.bar.querySelector(`[data-do=${what}]`);
    }

    mark() {
      this.root.classList.toggle("blk-edited", this.changed);
      this.root.classList.toggle("blk-ran", Boolean(this.fresh));
    }

    // Editing.

    open(text) {
      if (this.field) {
        this.field.text = text;
      } else {
        this.field = this.editor(text);
        this.code.after(this.field.root);
        this.code.hidden = true;
      }
      this.mark();
    }

    editor(text) {
      const what = (before, after) => ({ before, after, above: this.unrun().map((each) => each.source) });
      const made = new Editor({
        label: `Code of cell ${this.name}. Escape, then Tab, leaves it.`,
        text,
        changed: () => this.typed(),
        run: () => this.run(),
        ask: async (before, after) => {
          const found = await hint("complete", what(before, after));
          return found === undefined ? words(before) : found;
        },
        describe: (before, after) => hint("describe", what(before, after)),
        home: model,
      });
      made.root.addEventListener("focusin", edits);
      return made;
    }

    // Another editor has come. One in which letters are being composed waits for that to end.
    renew() {
      const old = this.field;
      if (!old || old instanceof Editor) return;
      if (old.composing) return old.root.addEventListener("compositionend", () => this.renew(), { once: true });
      const active = document.activeElement === old.root;
      this.field = this.editor(old.text);
      old.root.replaceWith(this.field.root);
      if (active) this.field.focus(old.selection);
    }

    close() {
      this.field.remove();
      this.field = null;
      this.code.hidden = false;
      this.mark();
    }

    edit() {
      if (!this.field) {
        this.open(this.author);
        this.field.focus();
        edits();
      } else if (this.changed) {
        this.field.focus();
      } else {
        this.close();
      }
    }

    typed() {
      this.mark();
      keep("blk.cells", this.name, this.changed ? this.source : undefined);
    }

    reset() {
      if (this.own) this.open(this.author);
      else if (this.field) this.close();
      keep("blk.cells", this.name, undefined);
      this.show(null);
      this.ran = null;
      this.say("");
      this.mark();
      if (location.hash.startsWith(`#${this.root.id}--`)) history.replaceState(history.state, "", `#${this.root.id}`);
      this.button("run").focus();
    }

    async link() {
      if (this.source.length > LONGEST) return this.say(`An address has room for ${LONGEST} letters.`);
      const address = new URL(location.href);
      address.hash = `${this.root.id}--${await packed(this.source)}`;
      history.replaceState(history.state, "", address);
      let where = "The page's address now has your code.";
      try {
        await navigator.clipboard.writeText(address.href);
        where = "Copied: an address of this page that has your code.";
      } catch {
        // then it is in the address bar alone
      }
      this.say(where);
    }

    // Running.

    run() {
      if (running === this) return stop();
      queue = queue.then(() => runAll(this));
      return queue;
    }

    // The cells that have to run before this one: an exercise that checks itself needs nothing but its own.
    above() {
      const before = cells.slice(0, cells.indexOf(this)).filter((cell) => !cell.own);
      const mine = group(this.name);
      return before.filter((cell) => !mine || group(cell.name) === mine);
    }

    unrun() {
      return this.above().filter((each) => each.ran !== each.source);
    }

    async execute() {
      const { source } = this;
      let wants = await call("cells:needs", source);
      if (wants.library && !wants.missing.length && !library) {
        await asked((done) => engine.add(["stdlib"], null, done));
        library = true;
        wants = await call("cells:needs", source);
      }
      this.ran = source;
      this.absent = wants.missing;
      if (wants.missing.length) return this.lacks(wants.missing);
      this.outputs = await call("cells:run", JSON.stringify({ id: this.name, source }));
      this.failed = this.outputs.some((each) => each.output_type === "error");
      this.show(this.outputs);
      this.root.dispatchEvent(new CustomEvent("blk-ran", { bubbles: true }));
    }

    // What it prints, while it runs; its outputs will take the place.
    hear(text) {
      if (!this.fresh || !this.fresh.matches(".blk-so-far")) {
        this.show([{ output_type: "stream", name: "stdout", text: "" }]);
        this.fresh.classList.add("blk-so-far");
      }
      this.fresh.querySelector("pre").append(text);
    }

    // An answer is right if its test said so, last of all.
    get passed() {
      const said = this.outputs && this.outputs.at(-1);
      return Boolean(this.own && said && said.name === "stdout" && said.text.trimEnd().split("\n").at(-1) === "right");
    }

    lacks(names) {
      this.outputs = this.failed = null;
      const what = this.changed || !this.stored ? "" : " What you see is what it gave when the book was made.";
      this.say(`This cell needs ${names.join(" and ")}, which a page does not have: it runs in JupyterLab.${what}`);
    }

    // Put outputs where the stored ones were; null brings those back. A live figure that is the same stays as it is.
    show(outputs) {
      const same = outputs && this.stored && this.isStored(outputs);
      if (this.fresh) {
        this.fresh.querySelectorAll(".blk-live").forEach(forget);
        this.fresh.remove();
      }
      this.fresh = null;
      if (outputs && !same && (outputs.length || this.stored)) {
        this.fresh = make('<div class="cell_output blk-fresh"></div>');
        this.fresh.append(...outputs.map(drawn));
        this.root.append(this.fresh);
        for (const root of this.fresh.querySelectorAll(".blk-live")) adopt(root);
      }
      if (this.stored) this.stored.hidden = Boolean(this.fresh);
      this.mark();
    }

    isStored(outputs) {
      const figures = this.stored.querySelectorAll(".blk-live");
      const made = outputs.map((each) => (each.data && each.data["text/html"] ? drawn(each).querySelector(".blk-live") : null));
      return figures.length === 1 && made.length === 1 && made[0] && made[0].dataset.live === figures[0].dataset.live;
    }
  }

  // An exercise with a test has a cell for the reader's answer, which ends with a call of the test.
  function answerTo(check) {
    const name = /^def check_(\w+)\(/m.exec(check.author);
    if (!name) return null;
    const told = [...document.querySelectorAll(".exercise.task")]
      .filter((each) => each.compareDocumentPosition(check.root) & Node.DOCUMENT_POSITION_FOLLOWING)
      .at(-1);
    const words = told ? [...told.querySelectorAll("code")].map((each) => each.textContent) : [];
    const head = words.find((each) => each.startsWith(`${name[1]}(`) && each.endsWith(")")) || `${name[1]}(*given)`;
    const root = make(
      `<div class="cell docutils container blk-own" id="cell-${check.name.replace(/check$/, "mine")}"><p>Your answer</p>` +
        '<div class="cell_input docutils container"><div class="highlight" hidden><pre></pre></div></div></div>',
    );
    root.querySelector("pre").textContent = `def ${head}:\n    ...\n\n\ncheck_${name[1]}(${name[1]})\n`;
    check.root.after(root);
    return new Cell(root);
  }

  let queue = Promise.resolve();

  async function runAll(cell) {
    running = cell;
    const button = cell.button("run");
    const label = button.getAttribute("aria-label");
    button.textContent = "Stop";
    button.setAttribute("aria-label", label.replace("Run", "Stop"));
    cell.root.setAttribute("aria-busy", "true");
    try {
      for (let tries = 2; tries; tries--) {
        try {
          speaking = null;
          await ready();
          await inOrder(cell);
          break;
        } catch (error) {
          if (error.message !== AGAIN || tries === 1) throw error;
        }
      }
    } catch (error) {
      cell.say(error.message);
    }
    running = speaking = null;
    button.textContent = "Run";
    button.setAttribute("aria-label", label);
    cell.root.removeAttribute("aria-busy");
  }

  async function inOrder(cell) {
    const before = cell.unrun();
    for (const [number, each] of before.entries()) {
      cell.say(`Running what it builds on: ${number + 1} of ${before.length} …`);
      await each.execute();
      if (each.failed) return cell.say(`A cell above failed: ${each.name}.`);
    }
    cell.say("Running …");
    speaking = cell;
    await cell.execute();
    if (!cell.absent.length) cell.say(cell.own ? (cell.passed ? "Passed." : "Not yet.") : cell.failed ? "It failed." : "It ran.");
  }

  function stop() {
    engine.stop();
    gone(`Stopped. ${ANEW}`);
  }

  const group = (name) => {
    const mine = /^ex-(.+)-(check|mine|drawn|solved)$/.exec(name);
    return mine && cells.some((cell) => cell.name === `ex-${mine[1]}-check` || cell.name === `ex-${mine[1]}-drawn`) && mine[1];
  };

  // What a cell gave, as the page shows what is stored.
  function drawn({ output_type: kind, name, text, data, traceback }) {
    const plain = (words, classes) => {
      const box = make(`<div class="output ${classes} highlight-myst-ansi notranslate"><div class="highlight"><pre tabindex="0"></pre></div></div>`);
      box.querySelector("pre").textContent = words;
      return box;
    };
    if (kind === "stream") return plain(text, name === "stderr" ? "stderr" : "stream");
    if (kind === "error") {
      const box = plain(traceback.join("\n"), "blk-error");
      box.setAttribute("role", "alert");
      return box;
    }
    const html = data["text/html"] || data["image/svg+xml"];
    if (!html) return plain(data["text/plain"], "text_plain");
    const box = make('<div class="output text_html"></div>');
    box.append(...tame(html));
    return box;
  }

  // What code makes may come from a link that somebody sent: it draws, and does nothing else.
  const IDLE = /^(script|iframe|frame|object|embed|link|meta|base|foreignobject|animate|set)$/i;
  const ADDRESS = /^(href|src|action|formaction|xlink:href|srcdoc)$/i;

  function tame(html) {
    const { body } = new DOMParser().parseFromString(`<body>${html}`, "text/html"); // where nothing runs
    for (const each of body.querySelectorAll("*")) {
      if (IDLE.test(each.localName)) each.remove();
      for (const { name, value } of [...each.attributes]) {
        const acts = each.localName === "img" ? /^\s*javascript:/i : /^\s*(javascript|data):/i;
        if (/^on/i.test(name) || (ADDRESS.test(name) && acts.test(value))) each.removeAttribute(name);
      }
    }
    return [...body.childNodes];
  }

  // Code in an address: compressed, in letters that an anchor may have.
  async function packed(text) {
    const bytes = await through(new Blob([text]), new CompressionStream("deflate-raw"));
    return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  }

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    return new TextDecoder().decode(await through(new Blob([bytes]), new DecompressionStream("deflate-raw")));
  }

  const through = async (blob, stream) => new Uint8Array(await new Response(blob.stream().pipeThrough(stream)).arrayBuffer());

  async function recall() {
    const mine = kept("blk.cells")[here] || {};
    for (const cell of cells) if (mine[cell.name] !== undefined) cell.open(mine[cell.name]);
    const [, id, code] = /^#(cell-.+?)--([\w-]+)$/.exec(location.hash) || [];
    const cell = id && cells.find((each) => each.root.id === id);
    if (!cell) return;
    try {
      const text = await unpacked(code);
      if (text.length > LONGEST) return;
      cell.open(text);
      for (let box = cell.root; box; box = box.parentElement) if (box.localName === "details") box.open = true;
      for (const box of cell.root.querySelectorAll("details")) box.open = true;
      cell.say("This code came with the link: read it before you run it.");
      cell.root.scrollIntoView();
    } catch {
      // not an address of ours
    }
  }

  // ------------------------------------------------------------------------------------------------------------------

  Object.assign(window.blkPage, { kept, keep, make, interpreter: engine });

  for (const root of document.querySelectorAll("div.cell[id^=cell-]")) {
    if (!root.querySelector(".cell_input")) continue;
    const cell = new Cell(root);
    const own = /^ex-.+-check$/.test(cell.name) && answerTo(cell);
    cells.push(cell, ...(own ? [own] : []));
  }
  recall();
})();
