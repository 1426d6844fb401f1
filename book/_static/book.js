// Before the page is drawn: the theme that the system asks for, unless the reader has chosen one.
if (!localStorage.getItem("mode")) {
  document.documentElement.dataset.mode = "auto";
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// A figure that is wider than the window scrolls in its own box, by keyboard too: while there is something to scroll,
// the box is a stop of the tab key.
addEventListener("DOMContentLoaded", () => {
  const watch = new ResizeObserver((seen) => {
    for (const { target } of seen)
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });
  for (const box of document.querySelectorAll(".blk-shown, .blk:not(.blk-shown .blk)")) watch.observe(box);
});
