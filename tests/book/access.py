"""Ask axe-core what a page keeps from those who see little, see no colours, or use no pointer: WCAG 2.2, A and AA."""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf8")
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# Contrast is a matter of how elements are styled, so two of each kind stand for all that have text of their own, the
# first and the longest: a kind is the same tags and classes up to the root, with the same colours, sizes and weights.
# As axe-core judges only what is in sight, no text of one letter and none without letters, these are kinds of their
# own. What was looked at before the figures of a page moved is not looked at again.
MARK = r"""([within]) => {
  const looked = window.blkLooked ??= new Set(), numbers = window.blkKinds ??= new Map(), places = new Map();
  const number = key => numbers.get(key) ?? numbers.set(key, numbers.size).get(key);
  const place = element => { // the number of its kind, and the box that it can be seen in
    if (!element) return [-1, [-Infinity, -Infinity, Infinity, Infinity]];
    if (!places.has(element)) {
      const style = getComputedStyle(element), [above, box] = place(element.parentElement);
      const {left, top, right, bottom} = element.getBoundingClientRect();
      const clips = style.overflow !== 'visible' && element.parentElement && element !== document.body;
      places.set(element, [
        number([above, element.tagName, element.getAttribute('class'), style.color, style.backgroundColor,
          style.backgroundImage, style.opacity, style.fontSize, style.fontWeight, style.textShadow, style.position,
          (element.control ?? element).matches(':disabled, [aria-disabled=true]')].join(' ')),
        clips ? [Math.max(box[0], left), Math.max(box[1], top), Math.min(box[2], right), Math.min(box[3], bottom)]
          : box]);
    }
    return places.get(element);
  };
  const kinds = new Map();
  for (const element of document.querySelectorAll(`:is(${within || 'body'}), :is(${within || 'body'}) *`)) {
    const own = [...element.childNodes].filter(each => each.nodeType === Node.TEXT_NODE).map(each => each.data.trim());
    const text = own.join('') || element.matches('input, select, textarea') && (element.value || ' ');
    if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
    const [styled, box] = place(element), {left, top, right, bottom} = element.getBoundingClientRect();
    const seen = left >= box[0] && top >= box[1] && right <= box[2] && bottom <= box[3];
    const kind = `${styled} ${seen} ${text.length > 1} ${/[\p{L}\p{N}]/u.test(text)}`;
    if (looked.has(kind)) continue;
    if (!kinds.has(kind)) kinds.set(kind, []);
    kinds.get(kind).push([text.length, element]);
  }
  for (const [kind, all] of kinds) {
    looked.add(kind);
    const longest = all.reduce((one, other) => other[0] > one[0] ? other : one);
    for (const [, element] of [all[0], longest]) element.setAttribute('data-look', '');
  }
  axe.configure({rules: [{id: 'color-contrast', selector: '[data-look]'}]});
}"""

# What is folded away is taken out meanwhile: of what is hidden axe-core asks only whether its identities are unique,
# which test_site.py does, and it spends most of its time on finding out that it is hidden.
# preload: no rule of these levels reads style sheets or media, and fetching them takes half of the time.
LOOK = """async ([levels, within, kind]) => {
  const rules = axe.getRules(levels).filter(({tags}) => !kind || tags.includes(kind)).map(({ruleId}) => ruleId);
  const options = {runOnly: kind ? rules : levels, resultTypes: ['violations'], preload: false};
  const folded = [...document.querySelectorAll('details:not([open]) > :not(summary)')].map(each => {
    const inner = [...each.childNodes];
    each.replaceChildren();
    return [each, inner];
  });
  const {violations} = await axe.run(within || document, options);
  folded.forEach(([each, inner]) => each.replaceChildren(...inner));
  document.querySelectorAll('[data-look]').forEach(each => each.removeAttribute('data-look'));
  return violations.flatMap(({id, nodes}) => nodes.map(({target, html, failureSummary}) =>
    [id, target.join(' '), html.slice(0, 160), failureSummary.replaceAll('\\n', ' ')].join(': ')));
}"""

# The page has that theme, and no colour is on its way. A page without a script, that of what is not found, leaves its
# colours to the browser.
SETTLED = """theme => (!document.scripts.length || document.documentElement.dataset.theme === theme)
  && !document.getAnimations().some(each => each instanceof CSSTransition && each.playState === 'running')"""

SEEN = "[...document.querySelectorAll('*')].filter(each => each.checkVisibility()).length"


def violations(page, within=None):
    """What axe-core finds, in the light theme and in the dark one; `within`: only in what this selector finds.

    A theme changes colours alone, as is seen to; so in the dark one only the rules of colours are asked again.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found, seen = [], set()
    for theme, kind in (("light", None), ("dark", "cat.color")):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(SETTLED, arg=theme)
        page.evaluate(MARK, [within])
        found += [f"{theme}: {each}" for each in page.evaluate(LOOK, [LEVELS, within, kind])]
        seen.add(page.evaluate(SEEN))
    assert len(seen) == 1, "in the dark there are other elements"
    return found
