// Makes the figures of a page answer. A figure is in the page already; at the first touch of a control a worker loads
// Python with the model in it, and from then on every change is drawn anew there. No framework, no other host.

(() => {
  "use strict";

  const me = document.currentScript;
  const home = new URL("engine/", me.src).href;
  const parts = JSON.parse(me.dataset.engine || "null"); // which files make up the engine, by content
  const PATIENCE = 20000; // milliseconds until a model that does not answer is stopped
  const LONGEST = 2000; // letters of a text in the page's address
  const KEPT = 64; // answers that are kept for going back and forth
  const REST = 150; // milliseconds without a change, until the worker draws what may be wanted next
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

    // The memory image failed, or lacks something: once more without it. The second time the reader is told.
    lose(why) {
      this.stop();
      if (!this.plain && parts) {
        this.plain = true;
        this.owner.lost("");
        this.start();
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

  function write(box, value, bounds) {
    const kind = box.dataset.kind;
    if (kind === "choice") {
      const wanted = JSON.stringify(value);
      for (const option of box.querySelectorAll("option")) option.selected = sameJson(option.value, wanted);
    } else if (kind === "check") {
      box.querySelector("input").checked = value;
    } else {
      for (const input of box.querySelectorAll("input, textarea")) {
        if (bounds) [input.min, input.max] = bounds;
        // A field is left alone while it is typed in: "1" may become "12".
        if (input === document.activeElement && input.type !== "range" && input.value !== "") continue;
        const says = value === null ? (input.type === "range" ? input.max : "") : String(value);
        if (input.value !== says) input.value = says;
      }
      const output = box.querySelector("output");
      const range = box.querySelector("input[type=range]");
      if (output) output.textContent = `${value} of ${range.max}`;
      if (kind === "steps") {
        const at = { first: value <= range.min, back: value <= range.min, next: value >= range.max, last: value >= range.max };
        // aria-disabled and not disabled: a button that is switched off under a finger loses the focus.
        for (const [go, off] of Object.entries(at)) box.querySelector(`[data-go=${go}]`).ariaDisabled = String(off);
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

  // The values one step from a control's own: what a reader may want next.
  const bySteps = (box, value) => {
    const { min, max, step } = box.querySelector("input[type=range]");
    return value === null ? [] : [value + Number(step), value - Number(step)].filter((at) => at >= min && at <= max);
  };
  const NEXT = {
    number: bySteps,
    steps: bySteps,
    choice: (box, value) => [...box.querySelectorAll("option")].map((each) => JSON.parse(each.value)).filter((each) => !same(each, value)),
    check: (box, value) => [!value],
    text: () => [],
  };

  const sameJson = (a, b) => a === b || JSON.stringify(JSON.parse(a)) === b;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  // A figure --------------------------------------------------------------------------------------------------------

  class Figure {
    constructor(root, name) {
      Object.assign(this, JSON.parse(root.dataset.live), { root, name, asked: null, wanted: false, answers: new Map() });
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
      this.fieldset.addEventListener("input", (event) => this.input(event));
      this.fieldset.addEventListener("change", (event) => this.input(event));
      root.addEventListener("click", (event) => this.click(event));
      root.addEventListener("keydown", (event) => this.key(event));
      this.mark();
    }

    input({ target, type }) {
      const box = target.closest("[data-kind]");
      if (!box) return;
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
      Object.assign(this.values, known);
      [this.moved] = Object.keys(known);
      this.mark();
      this.wanted = true;
      if (!follows) for (const other of this.followers()) other.change(known, true);
      engine.start();
      this.send();
    }

    // One question at a time; when its answer comes, only the newest state is asked for.
    send() {
      if (!this.wanted || engine.failed) return;
      this.busy(true);
      const values = { ...this.values };
      const key = JSON.stringify(values);
      const kept = this.answers.get(key);
      if (kept) return this.show(kept, values);
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
        this.send();
        this.rest();
      });
    }

    // While the reader rests, the worker draws what the next step may show, one state at a time: who goes on meanwhile
    // waits for that one at most.
    rest() {
      clearTimeout(this.resting);
      this.resting = setTimeout(() => {
        if (this.wanted || !(this.took < QUICK) || document.hidden) return;
        if (engine.waiting.size) return this.rest();
        const next = this.nextStates().find((values) => !this.answers.has(JSON.stringify(values)));
        if (next) this.ask(next);
      }, REST);
    }

    // What was moved last will be moved again, as a rule.
    nextStates() {
      const boxes = [...this.boxes].sort(([a], [b]) => (b === this.moved) - (a === this.moved));
      return boxes.flatMap(([name, box]) => NEXT[box.dataset.kind](box, this.values[name]).map((value) => ({ ...this.values, [name]: value })));
    }

    show(answer, asked) {
      this.wanted = false;
      this.values = { ...asked, ...answer.values };
      this.limits = answer.bounds;
      // No jump: as long as the figure is in sight its place does not shrink.
      this.shown.style.minHeight = `${this.shown.offsetHeight}px`;
      this.message(answer.error ? answer.html : "");
      if (!answer.error) morph(this.shown, answer.html);
      if (this.shown.scrollWidth > this.shown.clientWidth + 1) this.shown.tabIndex = 0; // as book.js does
      this.mark();
      this.busy(false);
      remember();
      this.rest();
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
      this.root.setAttribute("aria-busy", String(is));
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
    for (const { target, isIntersecting } of seen)
      if (!isIntersecting) target.querySelector(".blk-shown").style.minHeight = "";
  });

  function adopt(root) {
    const { name } = JSON.parse(root.dataset.live);
    let free = name;
    for (let times = 2; figures.some((figure) => figure.name === free); times++) free = `${name}-${times}`;
    figures.push(new Figure(root, free));
    sight.observe(root);
  }

  // For the cells of a page, which have an engine of their own and show new figures: cells.js.
  window.blkPage = {
    Engine,
    loadEditor,
    model: new URL("../../model/", home).href, // the pages with the model's source
    adopt,
    forget: (root) => {
      const at = figures.findIndex((figure) => figure.root === root);
      if (at >= 0) figures.splice(at, 1)[0].pause();
    },
  };

  function begin() {
    document.querySelectorAll(".blk-live").forEach(adopt);
    recall();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
