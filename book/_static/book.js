// Before the page is drawn: the theme that the reader has chosen, or else the one that the system asks for.
{
  const mode = localStorage.getItem("mode") || "auto";
  const dark = mode === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : mode === "dark";
  Object.assign(document.documentElement.dataset, { mode, theme: dark ? "dark" : "light" });
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

addEventListener("DOMContentLoaded", () => {
  document.querySelector(".bd-search-container input")?.focus(); // the page of search results

  // A report of an error says in which state the page was: that is in its address.
  for (const link of document.querySelectorAll("a[data-report]"))
    link.addEventListener("click", () => {
      const address = new URL(link.href);
      const body = address.searchParams.get("body").replace(/^Page: .*$/m, () => `Page: ${location.href}`);
      address.searchParams.set("body", body);
      link.href = address;
    });
});
