// Makes the figures of a page answer. A figure is in the page already; at the first touch of a control a worker loads
// Python with the model in it, and from then on every change is drawn anew there. No framework, no other host.

(() => {
  "use strict";

  const me = document.currentScript;
  const home = new URL("engine/", me.src).href;
  const parts = JSON.parse(me.dataset.engine || "null"); // which files make up the engine, by content
  const PATIENCE = 20000; // milliseconds until a model that does not answer is stopped
  const LONGEST = 2000; // letters of a text in the page's address
  const LARGEST = 2 << 20; // bytes of a file that a reader chooses
  const IN_SIGHT = 20000; // letters of a text that its field shows
  const KEPT = 128; // answers that are kept for going back and forth
  const REST = 100; // milliseconds without a change, until the worker draws what may be wanted next
  const QUICK = 400; // milliseconds: what takes longer is not drawn before it is wanted
  const PASTED = "pasted"; // a parameter that stays out of the address: what a reader pastes is nobody else's
  const figures = [];

  // The engine ------------------------------------------------------------------------------------------------------

  function script(file) {
    return new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = home + file;
      tag.onload = () => (tag.remove(), resolve());
      tag.onerror = () => reject(new Error(`cannot read ${tag.src}`));
      document.head.append(tag);
    });
  }

  // Over HTTP the worker fetches its parts itself. A page that is read from disk may fetch nothing, but it may load
  // scripts: there, each part is a script too, which hands over its content.
  async function partAsScript(name) {
    window.blkEnginePart = window.blkEnginePart || {};
    await script(parts[name].file.replace(/\.\w+$/, ".part.js"));
    const content = window.blkEnginePart[name];
    delete window.blkEnginePart[name];
    return content;
  }

  // What a reader edits code with: window.blkEditor.
  const loadEditor = async () => script(parts.editor.file);

  const fromDisk = location.protocol === "file:";

  async function content(names) {
    const found = names.map(async (name) => [
      name,
      fromDisk ? { base64: await partAsScript(name) } : { url: home + parts[name].file },
    ]);
    return Object.fromEntries(await Promise.all(found));
  }

  // A worker with Python in it, and what is asked of it. Its owner hears how loading goes on (tell), when it can be asked
  // (ready), that it is gone with all that was asked (lost, with the reason if it will not come back), who waits for
  // something that does not come to an end (stuck), and what a cell prints (said).
  class Engine {
    constructor(owner, more = []) {
      Object.assign(this, { owner, more, worker: null, ready: false, failed: "", plain: false, timer: 0, next: 1 });
      this.waiting = new Map();
      addEventListener("online", () => (this.failed = ""));
    }

    async start() {
      if (this.worker || this.failed) return;
      const mine = (this.worker = {});
      this.owner.tell("Loading the model …", 0);
      try {
        if (!parts) throw new Error("the page was built without it");
        const first = this.plain ? ["wasm", "sources", "package", "stdlib"] : ["wasm", "sources", "heap"];
        const names = [...new Set([...first, ...this.more])];
        const bytes = names.reduce((sum, name) => sum + parts[name].size, 0);
        const loads = await content(names);
        // Of all addresses a worker could have, a page from disk may use only this one, in every browser.
        const address = fromDisk
          ? `data:text/javascript;base64,${await partAsScript("worker")}`
          : home + parts.worker.file;
        if (this.worker !== mine) return; // stopped meanwhile
        this.worker = new Worker(address, { type: "module" });
        this.worker.onmessage = ({ data }) => this.heard(data, bytes);
        this.worker.onerror = (event) => this.lose(event.message || "the worker does not start");
        this.worker.postMessage({ start: loads, plain: this.plain });
        this.watch();
      } catch (error) {
        this.lose(error.message);
      }
    }

    heard(data, bytes) {
      if ("said" in data) {
        this.owner.said(data.said);
      } else if ("loaded" in data) {
        this.watch();
        this.owner.tell("Loading the model …", Math.min(1, data.loaded / bytes));
      } else if (data.ready) {
        clearTimeout(this.timer);
        this.ready = true;
        this.owner.tell("", null);
        this.owner.ready();
      } else if (data.failed) {
        this.lose(data.failed);
      } else {
        clearTimeout(this.timer);
        const { done } = this.waiting.get(data.id);
        this.waiting.delete(data.id);
        if (this.waiting.size) this.watch();
        if (data.missing) return this.lose(data.missing);
        done(data.answer && JSON.parse(data.answer));
      }
    }

    // Nobody waits for ever for an engine that does not load, nor, if there is somebody to tell, for an answer.
    watch() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        if (!this.ready) return this.lose(`nothing came for ${PATIENCE / 1000} seconds`);
        if (!this.owner.stuck) return;
        const [first] = this.waiting.values();
        this.stop();
        this.owner.stuck(first.asker);
        this.start();
      }, PATIENCE);
    }

    stop() {
      if (this.worker && this.worker.terminate) this.worker.terminate();
      Object.assign(this, { worker: null, ready: false });
      clearTimeout(this.timer);
      this.waiting.clear();
    }

    // The memory image failed, or lacks something: once more without it. The second time the reader is told. Where it
    // was a reader's own code that ended the interpreter, the next may begin another.
    lose(why) {
      const { ready } = this;
      this.stop();
      if (!this.plain && parts) {
        this.plain = true;
        this.owner.lost("");
        this.start();
      } else if (ready && this.owner.ended) {
        this.owner.ended(why);
      } else {
        this.failed = why;
        console.warn(`The model has stopped: ${why}`);
        this.owner.lost(why);
      }
    }

    ask(call, request, asker, done) {
      this.send({ call, request }, asker, done);
    }

    // Bring parts that are not always needed.
    async add(names, asker, done) {
      const { worker } = this;
      const add = await content(names);
      if (this.worker === worker) this.send({ add }, asker, done);
    }

    send(message, asker, done) {
      const id = this.next++;
      this.waiting.set(id, { asker, done });
      this.worker.postMessage({ id, ...message });
      this.watch();
    }
  }

  function tell(words, share) {
    for (const figure of figures) if (figure.wanted || engine.failed) figure.say(words, share);
  }

  // The figure whose state could not be drawn says so, the others go on.
  const engine = new Engine({
    tell,
    ready: () => figures.forEach((figure) => figure.send()),
    stuck: (stuck) => {
      for (const figure of figures) if (figure !== stuck) figure.asked = null;
      stuck.giveUp();
    },
    lost: (why) => {
      figures.forEach((figure) => (figure.asked = null));
      if (!why) return;
      tell(`The model could not be loaded (${why}). The figures stay as they are.`, null);
      figures.forEach((figure) => figure.busy(false));
    },
  });

  // A control: what its form elements say, and how to make them say something else ------------------------------------

  const READ = {
    number: (box) => {
      const [typed, slid] = box.querySelectorAll("input");
      return typed.value === "" && "none" in typed.dataset ? null : Number(slid.value);
    },
    steps: (box) => Number(box.querySelector("input[type=range]").value),
    choice: (box) => JSON.parse(box.querySelector("select").value),
    check: (box) => box.querySelector("input").checked,
    text: (box) => box.querySelector("input, textarea").value,
  };

  // Who writes what is there already has the browser look at the page anew.
  const put = (node, name, value) => node.getAttribute(name) === String(value) || node.setAttribute(name, value);

  function write(box, value, bounds) {
    const kind = box.dataset.kind;
    if (kind === "choice") {
      const wanted = JSON.stringify(value);
      for (const option of box.querySelectorAll("option")) option.selected = sameJson(option.value, wanted);
    } else if (kind === "check") {
      box.querySelector("input").checked = value;
    } else {
      for (const input of box.querySelectorAll("input, textarea")) {
        if (input.type === "file") continue;
        if (bounds) ["min", "max"].forEach((end, i) => put(input, end, bounds[i]));
        // A field is left alone while it is typed in: "1" may become "12".
        if (input === document.activeElement && input.type !== "range" && input.value !== "") continue;
        let says = value === null ? (input.type === "range" ? input.max : "") : String(value);
        if (says.length > IN_SIGHT) [says, input.placeholder] = ["", `${says.length} characters, which are not shown`];
        if (input.value !== says) input.value = says;
      }
      const output = box.querySelector("output");
      const range = box.querySelector("input[type=range]");
      const says = output && `${value} of ${range.max}`;
      if (output && output.textContent !== says) output.textContent = says;
      if (kind === "steps") {
        const at = { first: value <= range.min, back: value <= range.min, next: value >= range.max, last: value >= range.max };
        // aria-disabled and not disabled: a button that is switched off under a finger loses the focus.
        for (const [go, off] of Object.entries(at)) put(box.querySelector(`[data-go=${go}]`), "aria-disabled", off);
      }
    }
  }

  // What a control could not say, an address may not say either. (Bounds that hang on other parameters the model applies.)
  const isWhole = (box, value) => {
    const { step } = box.querySelector("input[type=range]");
    return typeof value === "number" && Number.isFinite(value) && (step !== "1" || Number.isInteger(value)) &&
      Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  };
  const ALLOWS = {
    number: (box, value) =>
      value === null ? box.querySelector("[data-none]") !== null : isWhole(box, value),
    steps: isWhole,
    choice: (box, value) =>
      [...box.querySelectorAll("option")].some((option) => sameJson(option.value, JSON.stringify(value))),
    check: (box, value) => typeof value === "boolean",
    text: (box, value) => typeof value === "string" && value.length <= LONGEST,
  };

  // The values that lie next to a control's own, the likeliest first: what a reader may want next. Who has gone up, goes on
  // up; down is -1.
  const bySteps = (box, value, up) => {
    const { min, max, step } = box.querySelector("input[type=range]");
    const next = [1, -1, 2].map((steps) => value + steps * up * step);
    return value === null ? [] : next.filter((at) => at >= min && at <= max);
  };
  const NEXT = {
    number: bySteps,
    steps: bySteps,
    choice: (box, value) => {
      const options = [...box.querySelectorAll("option")].map((each) => JSON.parse(each.value));
      const at = options.findIndex((each) => same(each, value));
      return [...options.slice(at + 1), ...options.slice(0, Math.max(at, 0))];
    },
    check: (box, value) => [!value],
    text: () => [],
  };

  const sameJson = (a, b) => a === b || JSON.stringify(JSON.parse(a)) === b;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  // While the reader rests, the worker draws what the next step may show, one state at a time: who goes on meanwhile
  // waits for that one at most. The figure in hand comes first, then those in sight.
  const inSight = new Set();
  let inHand = null;
  let resting = 0;
  function rest(time = REST) {
    clearTimeout(resting);
    resting = setTimeout(() => {
      if (document.hidden || !engine.ready || figures.some((figure) => figure.wanted)) return;
      if (engine.waiting.size) return rest();
      const likely = inHand ? [inHand, ...inHand.followers(), ...inSight] : inSight;
      for (const figure of likely) {
        const next = figure.next();
        if (next) return figure.ask(next);
      }
    }, time);
  }

  // A figure --------------------------------------------------------------------------------------------------------

  class Figure {
    constructor(root, name) {
      Object.assign(this, JSON.parse(root.dataset.live), { root, name, asked: null, wanted: false, answers: new Map() });
      Object.assign(this, { moved: "", up: 1, took: 0 });
      this.author = { ...this.values };
      Object.assign(root, { blkLive: this }).dataset.figure = name; // how a test gets at a figure
      this.fieldset = root.querySelector("fieldset");
      this.shown = root.querySelector(".blk-shown");
      this.status = root.querySelector(".blk-status");
      this.boxes = new Map([...root.querySelectorAll("[data-kind]")].map((box) => [box.dataset.name, box]));
      this.fieldset.hidden = this.fieldset.disabled = false;
      this.status.textContent = "";
      root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
      root.addEventListener("pointerdown", startIn(this.fieldset));
      root.addEventListener("focusin", startIn(this.fieldset));
      for (const type of ["focusin", "pointerover"]) root.addEventListener(type, (event) => this.near(event));
      this.fieldset.addEventListener("input", (event) => this.input(event));
      this.fieldset.addEventListener("change", (event) => this.input(event));
      root.addEventListener("click", (event) => this.click(event));
      root.addEventListener("keydown", (event) => this.key(event));
      for (const type of ["dragover", "drop"]) root.addEventListener(type, (event) => this.drop(event));
      this.mark();
    }

    // Where the pointer or the focus is, something will be moved.
    near({ target }) {
      const box = target.closest("[data-kind]");
      if (!box || (inHand === this && this.moved === box.dataset.name)) return;
      inHand = this;
      if (this.moved !== box.dataset.name) Object.assign(this, { moved: box.dataset.name, up: 1 });
      rest(0);
    }

    input({ target, type }) {
      const box = target.closest("[data-kind]");
      if (!box) return;
      if (target.type === "file") return this.take(box, type === "change" && target.files[0]);
      const slider = box.querySelector("input[type=range]");
      if (target.type === "number") {
        if (!target.validity.valid || (target.value === "" && !("none" in target.dataset))) {
          if (type === "change") target.value = this.values[box.dataset.name]; // else it is still being typed
          return;
        }
        if (target.value !== "") slider.value = target.value;
      } else if (box.dataset.kind === "number") {
        box.querySelector("input[type=number]").value = slider.value;
      }
      if (box.dataset.kind === "steps") this.pause();
      this.change({ [box.dataset.name]: READ[box.dataset.kind](box) });
    }

    // A file that the reader has chosen or dropped: it is read here, and stays here.
    async take(box, file) {
      if (!file) return;
      const refuse = (why) => this.message(`<div class="blk-message"><p>This file cannot be read: ${why}.</p></div>`);
      if (file.size > LARGEST) return refuse(`it has ${file.size} bytes; at most ${LARGEST} are read`);
      try {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
        box.querySelector("textarea, input").blur();
        this.answers.clear();
        this.change({ [box.dataset.name]: text });
      } catch (error) {
        refuse(error instanceof TypeError ? "it is not UTF-8 text" : "the browser cannot open it");
      }
    }

    drop(event) {
      const chooser = this.fieldset.querySelector("input[type=file]");
      if (!chooser || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      if (event.type === "drop") this.take(chooser.closest("[data-kind]"), event.dataTransfer.files[0]);
    }

    click(event) {
      const button = event.target.closest("[data-go]");
      if (button) return this.go(button.dataset.go, button.closest("[data-kind]"));
      // What is drawn may set a parameter too: data-set="focus=3".
      const mark = event.target.closest(".blk-shown [data-set]");
      if (mark) {
        const [name, value] = mark.dataset.set.split(/=(.*)/s);
        if (name in this.values) this.change({ [name]: JSON.parse(value) });
      }
    }

    go(where, box) {
      if (where === "reset") {
        this.pause();
        this.change(this.author);
        for (const other of this.followers()) other.change(other.author);
        return;
      }
      const range = box.querySelector("input[type=range]");
      const [low, high, at] = [range.min, range.max, this.values[box.dataset.name]].map(Number);
      if (where === "play") {
        if (this.playing) return this.pause();
        if (at >= high) this.change({ [box.dataset.name]: low });
        this.play(box);
      } else {
        this.pause();
        const to = { first: low, back: at - 1, next: at + 1, last: high }[where];
        if (to >= low && to <= high && to !== at) this.change({ [box.dataset.name]: to });
      }
    }

    key(event) {
      const box = this.root.querySelector(".blk-steps");
      if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return; // they have their own use for these keys
      const where = { ArrowLeft: "back", ArrowRight: "next", Home: "first", End: "last" }[event.key];
      if (!where) return;
      event.preventDefault();
      this.go(where, box);
    }

    play(box) {
      const button = box.querySelector("[data-go=play]");
      const shows = (sign, says) => ((button.textContent = sign), button.setAttribute("aria-label", says));
      shows("❚❚", "pause");
      const timer = setInterval(() => {
        const at = this.values[box.dataset.name];
        if (this.asked || !engine.ready) return; // a slow step is waited for
        if (at >= Number(box.querySelector("input[type=range]").max)) return this.pause();
        this.change({ [box.dataset.name]: at + 1 });
      }, 700);
      this.playing = () => (clearInterval(timer), shows("▶", "play"));
    }

    pause() {
      if (this.playing) this.playing();
      this.playing = null;
    }

    followers() {
      return this.follow ? figures.filter((other) => other !== this && other.follow === this.follow) : [];
    }

    // The reader has set something, here or in a figure that this one follows.
    change(values, follows = false) {
      const known = Object.fromEntries(Object.entries(values).filter(([name]) => name in this.values));
      if (Object.entries(known).every(([name, value]) => same(this.values[name], value))) return;
      [this.moved] = Object.keys(known);
      this.up = known[this.moved] < this.values[this.moved] ? -1 : 1;
      Object.assign(this.values, known);
      this.mark();
      this.wanted = true;
      if (!follows) inHand = this;
      if (!follows) for (const other of this.followers()) other.change(known, true);
      engine.start();
      this.send();
    }

    // One question at a time; when its answer comes, only the newest state is asked for.
    send() {
      if (!this.wanted || engine.failed) return;
      const values = { ...this.values };
      const kept = this.answers.get(JSON.stringify(values));
      if (kept) return this.show(kept, values);
      this.busy(true);
      if (engine.ready && !this.asked) this.ask(values);
    }

    ask(values) {
      const key = JSON.stringify(values);
      const begin = performance.now();
      this.asked = key;
      const request = JSON.stringify({ view: this.view, values, bounds: this.bounds });
      engine.ask("blkmodel.live:answer", request, this, (answer) => {
        this.asked = null;
        this.took = this.answers.size ? performance.now() - begin : 0; // the first one pays for what comes but once
        if (this.answers.size >= KEPT) this.answers.delete(this.answers.keys().next().value);
        this.answers.set(key, answer);
        if (this.wanted) this.send();
        else rest(0); // nobody has waited for this one
      });
    }

    // A state that has not been drawn, and that may be wanted next.
    next() {
      if (this.asked || this.took >= QUICK) return undefined;
      return this.nextStates().find((values) => !this.answers.has(JSON.stringify(values)));
    }

    // What was moved last will be moved again, as a rule.
    nextStates() {
      const boxes = [...this.boxes].sort(([a], [b]) => (b === this.moved) - (a === this.moved));
      return boxes.flatMap(([name, box]) =>
        NEXT[box.dataset.kind](box, this.values[name], name === this.moved ? this.up : 1)
          .map((value) => ({ ...this.values, [name]: value })));
    }

    show(answer, asked) {
      this.wanted = false;
      this.values = { ...asked, ...answer.values };
      this.limits = answer.bounds;
      // No jump: as long as the figure is in sight its place does not shrink.
      if (this.tall) this.shown.style.minHeight = `${this.tall}px`;
      this.message(answer.error ? answer.html : "");
      if (!answer.error) morph(this.shown, answer.html);
      requestAnimationFrame(() => {
        if (this.shown.scrollWidth > this.shown.clientWidth + 1) this.shown.tabIndex = 0; // as book.js does
      });
      this.mark();
      this.busy(false);
      remember();
      rest();
      this.root.dispatchEvent(new CustomEvent("blk-shown", { detail: answer }));
    }

    // The model did not come to an end with these values: back to the author's, with a word over the figure.
    giveUp() {
      this.asked = null;
      this.took = Infinity;
      if (!this.wanted) return; // nobody has asked for it yet
      this.wanted = false;
      this.pause();
      this.values = { ...this.author };
      this.mark();
      this.busy(false);
      remember();
      this.message(
        `<div class="blk-message"><p>The model did not answer within ${PATIENCE / 1000} seconds. It has been started ` +
          "anew; the controls are back where they began.</p></div>",
      );
    }

    // What the model says against a state lies over the last figure, which fades.
    message(html) {
      const old = this.root.querySelector(":scope > .blk-message");
      if (old) old.remove();
      this.shown.inert = Boolean(html);
      this.root.classList.toggle("blk-refused", Boolean(html));
      if (!html) return;
      this.shown.insertAdjacentHTML("beforebegin", html);
      this.root.querySelector(":scope > .blk-message").setAttribute("role", "alert");
    }

    // Make the form show the state.
    mark() {
      for (const [name, box] of this.boxes) write(box, this.values[name], this.limits && this.limits[name]);
      this.root.classList.toggle("blk-changed", !same(this.values, this.author));
    }

    busy(is) {
      put(this.root, "aria-busy", is);
    }

    say(words, share) {
      this.status.textContent = words;
      if (share === null) this.root.style.removeProperty("--blk-loaded");
      else this.root.style.setProperty("--blk-loaded", share);
      this.root.classList.toggle("blk-loading", share !== null);
    }
  }

  const startIn = (fieldset) => (event) => {
    if (fieldset.contains(event.target) || event.target.closest("[data-set]")) {
      const figure = figures.find((each) => each.fieldset === fieldset);
      if (figure && !engine.ready && !engine.failed) figure.wanted = true;
      engine.start();
    }
  };

  // Change what is drawn into what is to be drawn, element by element, so that what stays can be seen to stay: a
  // focus is kept, and what moves can glide. Elements are the same if their data-key, or their kind and place, are.
  function morph(shown, html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    children(shown, fresh.content);
  }

  function children(old, fresh) {
    const keyed = new Map();
    for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = wanted.dataset && wanted.dataset.key;
      let same = key ? keyed.get(key) : at;
      if (same && same !== at) old.insertBefore(same, at);
      if (same && same.nodeName === wanted.nodeName && (key || !(same.dataset && same.dataset.key))) {
        at = same.nextSibling;
        if (same.nodeType !== Node.ELEMENT_NODE) {
          if (same.data !== wanted.data) same.data = wanted.data;
        } else if (!same.isEqualNode(wanted)) {
          attributes(same, wanted);
          children(same, wanted);
        }
      } else {
        old.insertBefore(wanted, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // In the same order too: what is shown is then, to the letter, what was drawn.
  function attributes(old, fresh) {
    const names = fresh.getAttributeNames();
    const keep = old.getAttributeNames().every((name, i) => name === names[i]);
    if (!keep) for (const name of old.getAttributeNames()) old.removeAttribute(name);
    for (const name of names) {
      const value = fresh.getAttribute(name);
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  // The reader's state in the page's address: ?figure.parameter=value, for what differs from the author's ---------------

  let remembering = 0;
  function remember() {
    clearTimeout(remembering);
    remembering = setTimeout(() => {
      const address = new URL(location.href);
      const ours = new Set(figures.map((figure) => figure.name));
      for (const key of [...address.searchParams.keys()])
        if (ours.has(key.slice(0, key.lastIndexOf(".")))) address.searchParams.delete(key);
      for (const figure of figures)
        for (const [name, value] of Object.entries(figure.values))
          if (!same(value, figure.author[name]) && figure.boxes.has(name) && name !== PASTED)
            address.searchParams.set(`${figure.name}.${name}`, typeof value === "string" ? value : JSON.stringify(value));
      if (address.href !== location.href) history.replaceState(history.state, "", address);
    }, 200);
  }

  function recall() {
    for (const figure of figures) {
      const values = {};
      for (const [name, author] of Object.entries(figure.author)) {
        const text = new URLSearchParams(location.search).get(`${figure.name}.${name}`);
        if (text === null || !figure.boxes.has(name)) continue;
        let value = text;
        try {
          if (typeof author !== "string") value = JSON.parse(text);
        } catch {
          continue; // not an address of ours: the author's state stands
        }
        if (ALLOWS[figure.boxes.get(name).dataset.kind](figure.boxes.get(name), value)) values[name] = value;
      }
      figure.change(values);
    }
  }

  // ------------------------------------------------------------------------------------------------------------------

  const sight = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) target.querySelector(".blk-shown").style.minHeight = "";
      inSight[isIntersecting ? "add" : "delete"](target.blkLive);
    }
    rest();
  });

  // To ask how tall a figure is, when something has just been written, would have the browser lay out the page for it.
  const sizes = new ResizeObserver((seen) => {
    for (const { target, borderBoxSize } of seen) target.closest(".blk-live").blkLive.tall = borderBoxSize[0].blockSize;
  });

  function adopt(root) {
    const { name } = JSON.parse(root.dataset.live);
    let free = name;
    for (let times = 2; figures.some((figure) => figure.name === free); times++) free = `${name}-${times}`;
    figures.push(new Figure(root, free));
    sight.observe(root);
    sizes.observe(root.querySelector(".blk-shown"));
  }

  // For the cells of a page, which have an engine of their own and show new figures: cells.js.
  window.blkPage = {
    Engine,
    loadEditor,
    model: new URL("../../model/", home).href, // the pages with the model's source
    adopt,
    forget: (root) => {
      const at = figures.findIndex((figure) => figure.root === root);
      if (at < 0) return;
      const [gone] = figures.splice(at, 1);
      gone.pause();
      inSight.delete(gone);
      if (inHand === gone) inHand = null;
    },
  };

  function begin() {
    document.querySelectorAll(".blk-live").forEach(adopt);
    recall();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
