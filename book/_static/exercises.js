// Which exercises of a page are done: those that check themselves, once they are; of the others the reader says so. It is
// kept in this browser alone.

(() => {
  "use strict";

  const { kept, keep, make } = window.blkPage;
  const KEY = "blk.done";
  const TRIES = 2; // so many answers to a choice may be opened until the right one is
  const here = location.pathname.split("/").pop();
  const exercises = [...document.querySelectorAll("div.exercise.admonition")].map((root) => new Exercise(root));
  const progress = make('<p class="blk-progress"><span role="status"></span> <button type="button">Forget all answers</button></p>');

  function Exercise(root) {
    const title = root.querySelector(".admonition-title");
    const answer = document.getElementById(`cell-ex-${root.id.replace("exercise-", "")}-mine`);
    const choices = [...root.querySelectorAll("details.choice")];
    const figure = root.classList.contains("drawn") && root.querySelector(".blk-live");
    let tick = null;
    Object.assign(this, { root });

    const state = () => (kept(KEY)[here] || {})[root.id] || {};
    const set = (more) => {
      keep(KEY, root.id, { ...state(), ...more });
      exercises.forEach((each) => each.mark());
      sum();
    };

    this.done = () => Boolean(state().done);
    this.mark = () => {
      root.classList.toggle("blk-is-done", this.done());
      if (tick) tick.checked = this.done();
    };

    if (answer) {
      answer.addEventListener("blk-ran", () => answer.blkCell.passed && set({ done: true }));
    } else if (choices.length) {
      for (const choice of choices)
        choice.addEventListener("toggle", () => {
          const { tries = 0, over } = state();
          if (!choice.open || over) return;
          const right = choice.classList.contains("right");
          set({ tries: tries + 1, over: right, done: right && tries < TRIES });
        });
    } else if (figure) {
      figure.addEventListener("blk-shown", () => {
        const verdict = figure.querySelector(".blk-shown strong");
        if (verdict && verdict.textContent.startsWith("Right")) set({ done: true });
      });
    } else {
      const box = make('<label class="blk-tick"><input type="checkbox"> done</label>');
      tick = box.firstElementChild;
      tick.setAttribute("aria-label", `done: ${title.textContent.trim()}`);
      tick.addEventListener("change", () => set({ done: tick.checked }));
      title.append(box);
    }
    if (!tick) title.append(make('<span class="blk-mark">done</span>'));
  }

  function sum() {
    const done = exercises.filter((each) => each.done()).length;
    const words = `${done} of ${exercises.length} exercises done${done ? ", as this browser remembers" : ""}.`;
    const status = progress.querySelector("span");
    if (status.textContent !== words) status.textContent = words;
    progress.querySelector("button").hidden = !Object.values(kept(KEY)).some((page) => Object.keys(page).length);
  }

  progress.querySelector("button").addEventListener("click", () => {
    localStorage.removeItem(KEY);
    exercises.forEach((each) => each.mark());
    sum();
  });

  let section = exercises.length && exercises[0].root.closest("section");
  while (section && !section.querySelector(":scope > h2")) section = section.parentElement.closest("section");
  if (!section) return;
  section.querySelector(":scope > h2").after(progress);
  exercises.forEach((each) => each.mark());
  sum();
})();
