"""Drive the live figures of a page: in Chromium by Playwright, in Firefox by its own WebDriver BiDi.

    figure = Figure(page.evaluate, "machine_to_queues")     # what the page calls it: data-figure
    figure.check(cpus=16, nodes=2)                    # set the controls; the page must show what Python draws
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import time
from pathlib import Path

import websocket

from blkmodel.live import _found, draw

PATIENCE = 180  # seconds for what must come: machines differ, and are shared. Only who fails waits so long


def until(look, wanted=None, page=None):
    """Ask until the answer is the wanted one, or, where none is named, until there is one; return it.

    page: what a test hears of this page is heard meanwhile."""
    end = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found == wanted if wanted is not None else found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"after {PATIENCE} seconds {found!r}; wanted: {wanted or 'anything'!r}")
        page.wait_for_timeout(50) if page else time.sleep(0.05)


def end(process):
    """Have a process end itself, or end it."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# Set controls as a reader would, through their form elements; come back when the page shows the answer.
SET = """async ([name, values, patience]) => {
  const root = document.querySelector(`[data-figure="${name}"]`);
  const figure = root.blkLive;
  for (const [parameter, value] of Object.entries(values)) {
    const box = figure.boxes.get(parameter);
    const kind = box.dataset.kind;
    const input = box.querySelector({number: 'input[type=number]', steps: 'input', choice: 'select', check: 'input',
                                     text: 'input, textarea'}[kind]);
    if (kind === 'check') {
      if (input.checked !== value) input.click();
      continue;
    }
    input.value = value === null && kind !== 'choice' ? '' : kind === 'choice' ? JSON.stringify(value) : value;
    input.dispatchEvent(new Event('input', {bubbles: true}));
  }
  const begin = performance.now();
  while (root.getAttribute('aria-busy') === 'true') {
    if (performance.now() - begin > 1000 * patience) throw new Error(`${name} does not answer`);
    await new Promise(done => setTimeout(done, 5));
  }
  return {values: figure.values, status: figure.status.textContent, refused: root.classList.contains('blk-refused'),
          message: (root.querySelector(':scope > .blk-message') || {}).outerHTML || '',
          shown: figure.shown.innerHTML};
}"""

# What a browser makes of HTML text; figures are compared in that form, to the letter.
PARSED = """([html]) => {
  const made = document.createElement('template');
  made.innerHTML = html;
  return made.innerHTML;
}"""


@functools.lru_cache(maxsize=256)
def drawn_here(view, bounds, values):
    """Draw once what is compared often: the same parameters give the same text.

    values: as JSON, where 1 is not true."""
    return draw(view, json.loads(values), dict(bounds))


class Figure:
    """A live figure of the page that `evaluate(script, argument)` runs in."""

    def __init__(self, evaluate, name):
        self.evaluate = evaluate
        self.name = name
        spec = evaluate("([name]) => document.querySelector(`[data-figure=\"${name}\"]`).dataset.live", [name])
        self.spec = json.loads(spec)
        self.view = _found(self.spec["view"])
        self.bounds = {n: tuple(_found(b) for b in pair) for n, pair in self.spec["bounds"].items()}
        self.values = dict(self.spec["values"])

    def set(self, **values):
        """Set controls; return what the page then shows: values, shown, refused, message, status."""
        return self.evaluate(SET, [self.name, values, PATIENCE])

    def check(self, **values):
        """Set controls; fail unless the page then shows what the view draws in this interpreter."""
        state = self.set(**values)
        drawn = self.drawn(**values)
        assert state["status"] == ""
        assert state["values"] == drawn.values, f"{self.name} {values}"
        assert state["refused"] == drawn.error, f"{self.name} {values}: {state['message']}"
        if drawn.error:
            drawn_message = drawn.html.replace('class="blk-message"', 'class="blk-message" role="alert"', 1)
            assert state["message"] == self.evaluate(PARSED, [drawn_message])
        else:
            assert state["shown"] == self.evaluate(PARSED, [drawn.html]), f"{self.name} {values}"
        self.values = dict(drawn.values)
        return state

    def drawn(self, **values):
        """What this interpreter draws, once these are set."""
        return drawn_here(self.view, tuple(self.bounds.items()), json.dumps(self.values | values))

    def moves(self):
        """For each control, values worth setting: its ends and its middle, each choice, yes and no."""
        describe = """([name]) => [...document.querySelector(`[data-figure="${name}"]`).blkLive.boxes].map(
            ([name, box]) => [name, box.dataset.kind, [...box.querySelectorAll('option')].map(o => o.value),
                              Number((box.querySelector('[step]') || {}).step) || 1])"""
        for name, kind, options, step in self.evaluate(describe, [self.name]):
            if kind == "choice":
                yield from ((name, json.loads(each)) for each in options)
            elif kind == "check":
                yield from ((name, not self.values[name]), (name, self.values[name]))
            elif kind == "text":
                yield from ((name, "?"), (name, self.values[name]))
            else:
                before = self.values[name]
                low, high = self.drawn().bounds[name]
                middle = low + (high - low) // 2 // step * step  # the page takes no value that is between two steps
                yield from ((name, each) for each in dict.fromkeys([low, middle, high, before]))


# No figure draws what may be wanted next: who moves every control wants little of that, and it is half the work.
NOTHING_AHEAD = """() => document.querySelectorAll('.blk-live').forEach(root =>
    Object.defineProperty(root.blkLive, 'took', {get: () => Infinity, set: () => {}, configurable: true}))"""


def figures(evaluate):
    """Every live figure of a page."""
    names = evaluate("() => [...document.querySelectorAll('.blk-live')].map(root => root.dataset.figure)", None)
    return [Figure(evaluate, name) for name in names]


class Firefox:
    """Firefox without a window, driven by its own remote protocol. `errors` is what its console complained of."""

    def __init__(self, program, profile: Path):
        self.said = profile / "stderr"  # a file takes all of it: who writes into a pipe that nobody reads stops
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
                stderr=said, stdout=subprocess.DEVNULL)
        self.socket = websocket.create_connection(f"{until(self.address)}/session", suppress_origin=True,
                                                  timeout=5 * PATIENCE)  # the cells of a chapter are one answer
        self.number = 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])
        self.context = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def address(self):
        """Where it listens, once it does."""
        said = self.said.read_text()
        if self.process.poll() is not None:
            raise RuntimeError(f"Firefox has ended: {said}")
        found = re.search(r"listening on (ws://\S+)\n", said)
        return found and found[1]

    def send(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            said = json.loads(self.socket.recv())
            if said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.errors.append(said["params"]["text"])
            if said.get("method") == "network.beforeRequestSent":
                self.requests.append(said["params"]["request"]["url"])
            if said.get("id") == self.number:
                if said["type"] == "error":
                    raise RuntimeError(f"{method}: {said['message']}")
                return said["result"]

    def goto(self, address):
        self.send("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, script, argument=None):
        """Call a JavaScript function in the page with one argument that JSON can carry; return its result."""
        text = f"(async () => JSON.stringify(await ({script})({json.dumps(argument)})))()"
        result = self.send("script.evaluate", expression=text, target={"context": self.context}, awaitPromise=True)
        if result["type"] == "exception":
            raise RuntimeError(result["exceptionDetails"]["text"])
        return json.loads(result["result"].get("value", "null"))

    def close(self):
        self.socket.close()
        end(self.process)
