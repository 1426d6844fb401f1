"""A tour as a list to read by: each function that is new, with its lines, its first sentence, and two links; and the
modules, room by room.

    HTML(itinerary("set-up"))        HTML(house())
"""

import re
from collections import defaultdict
from html import escape
from itertools import groupby

from blkmodel.reference import rooms
from blkmodel.view.draw import SOURCE, kernel_url, panel, two_links
from blkmodel.view.facts.tour import EVENINGS, total, tour


def itinerary(name):
    """The tour of an evening, leg by leg. name: of view/facts/tour's EVENINGS."""
    evening, parts, number = EVENINGS[name], [], 1
    for leg, found in tour(name).items():
        steps = [each for each in found if evening.room in ("", each.room)]
        (functions, lines), (more, of) = total(steps), total(set(found) - set(steps))
        beyond = f"; beyond this room {more} more, of {of} lines" if more else ""
        parts.append(f"<p><strong>{escape(leg.title[0].upper() + leg.title[1:])}</strong> "
                     f'<span class="dim">{functions} functions, {lines} lines{beyond}</span></p>'
                     f'<ol start="{number}">')
        for silent, group in groupby(steps, lambda each: not each.says):
            said = list(group)
            parts += [_small(said)] if silent else map(_step, said)
            number += 1 if silent else len(said)
        parts.append("</ol>")
    return panel("blk-tour", f"{evening.title}: its functions in the order of the first calls", "tour", *parts)


def _step(step):
    service = f" · services/{step.module.split('.', 1)[1].replace('.', '/')}" if step.room == "services" else ""
    lines = f"{step.lines} line{'s' * (step.lines != 1)}{service}"
    return (f'<li><span class="name">{escape(step.function)}</span> <span class="dim">{lines}</span><br/>'
            f"{worded(step.says)}{_links(step)}</li>")


def _small(steps):
    """Neighbours that need no words: most have one line."""
    links = "".join(f'<a href="{model_page(each.module)}#{each.function}"><span class="name">{escape(each.function)}'
                    f"</span> {each.lines}</a>" for each in steps)
    return f'<li class="small">{links}</li>'


def _links(step):
    url = kernel_url(step.function, step.file) if step.file else None
    if step.file.endswith(".h"):  # which function of a header is on which line is not known
        url = f"{SOURCE}/{step.file}"
    return two_links(escape(step.function), url, f"{model_page(step.module)}#{step.function}")


def worded(text):
    """A sentence as HTML; what stands between backticks is code."""
    return re.sub("`(.*?)`", r"<code>\1</code>", escape(text, quote=False))


def model_page(module):
    """Where a module's source stands in the site, seen from a chapter's page."""
    path = module.replace(".", "/")
    page = f"{path}/index" if rooms.path_of(module).stem == "__init__" else path
    return f"../model/{page.replace('__init__/', '')}.html"


def house():
    """All modules, room by room: each with its lines, the kernel file that it stands for, and what it is for."""
    parts, by_room = [], defaultdict(list)
    for each in sorted(rooms.modules(), key=lambda each: not each.file):  # first what stands for a file of the kernel
        by_room[each.room].append(each)
    for room, inside in by_room.items():
        parts.append(f'<details><summary><strong>{escape(room)}</strong> <span class="dim">{len(inside)} modules, '
                     f"{total(inside)[1]} lines</span></summary><ul>{''.join(map(_module, inside))}</ul></details>")
    return panel("blk-tour", "The modules of the package, room by room", "tour", *parts)


def _module(module):
    file = f'<a href="{SOURCE}/{module.file}" aria-label="{module.file} in C">C</a>' if module.file else ""
    name = module.name.replace(".", "/")
    return (f'<li><span class="name">{name}</span> <span class="dim">{module.lines} lines'
            f"{' · ' * bool(module.file)}{module.file}</span><br/>{worded(module.says)}"
            f'<span class="blk-links">{file}<a href="{model_page(module.name)}" aria-label="{name} in the model">'
            "model</a></span></li>")
