"""Ask axe-core what a page keeps from those who see little, see no colours, or use no pointer: WCAG 2.2, A and AA."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf8")
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# preload: no rule of these levels reads style sheets or media, and fetching them takes half of the time.
LOOK = """async ([levels, within]) => {
  const options = {runOnly: levels, resultTypes: ['violations'], preload: false};
  const {violations} = await axe.run(within || document, options);
  return violations.flatMap(({id, nodes}) => nodes.map(({target, html, failureSummary}) =>
    [id, target.join(' '), html.slice(0, 160), failureSummary.replaceAll('\\n', ' ')].join(': ')));
}"""


def violations(page, within=None):
    """What axe-core finds, in the light theme and in the dark one; `within`: only in what this selector finds."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        # A page without a script, that of what is not found, leaves its colours to the browser.
        page.wait_for_function("theme => !document.scripts.length || document.documentElement.dataset.theme === theme",
                               arg=theme)
        found += [f"{theme}: {each}" for each in page.evaluate(LOOK, [LEVELS, within])]
    return found
