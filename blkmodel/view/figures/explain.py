"""A log, a stack or a trace that a reader pastes: what the book knows of it is marked and linked.

    live(explain, pasted=Text(size=48))
"""

from html import escape

from blkmodel.reference import mirror
from blkmodel.reference.source import definitions
from blkmodel.view.draw import SOURCE, kernel_url, model_url, panel
from blkmodel.view.facts.explained import Found, Symptom, explain as look, lines_of, symptoms, told

_SHOWN = 200  # lines, and names


def explain(pasted: str = "") -> str:
    """Mark what is known in a text, and say below what each of it means. Nothing of it is kept or sent anywhere."""
    lines = lines_of(pasted)
    found = look(lines)
    meant = {each.symptom.key: each.symptom for each in found if each.symptom}
    names = sorted({each.function for each in found if each.function})
    known, unknown = ([name for name in names if (name in definitions()) == is_known] for is_known in (True, False))
    said = (f"{len(lines)} line{'s' * (len(lines) > 1)}: {len(meant)} that the book knows as a symptom, {len(known)} "
            f"function{'s' * (len(known) != 1)} of the kernel that it knows, {len(unknown)} that it does not."
            + f" The first {_SHOWN} lines are shown." * (len(lines) > _SHOWN))
    shown = "\n".join(_marked(line, [each for each in found if each.line == number])
                      for number, line in enumerate(lines[:_SHOWN]))
    rest = f"<p>Not known here: {', '.join(unknown[:_SHOWN])}.</p>" if unknown else ""
    return panel("blk-explain", f"{said} {' '.join(each.means for each in meant.values())} {' '.join(known)}",
                 "explain", f'<p class="says">{said}</p><pre>{shown}</pre>',
                 "".join(map(described, meant.values())), f"<ul>{''.join(map(_function, known))}</ul>{rest}")


def every(where: str) -> str:
    """All symptoms of a kind, one below the other, each with its anchor."""
    return panel("blk-explain", f"Symptoms: {where}", "explain",
                 *(described(each, f' id="{each.key}"') for each in symptoms() if each.where == where))


def described(symptom: Symptom, anchor: str = "") -> str:
    """What a symptom means, where it is made, what to try and where to read; `anchor`: its attribute, if it has one."""
    made = f'<a href="{SOURCE}/{symptom.place().replace(":", "#L")}"><code>{symptom.function}</code></a>'
    show = f' · <a href="{escape(symptom.figure)}">try it</a>' if symptom.figure else ""
    return (f'<div class="symptom"{anchor}><h4>{escape(symptom.seen)}</h4><p>{escape(symptom.means)}</p><p>made in '
            f'{made}, {symptom.place()}{show} · <a href="{symptom.read.replace("#", ".html#")}">read on</a></p></div>')


def _function(name: str) -> str:
    """Where a function is: in the kernel, in the model, in the chapters."""
    places = []
    for each in definitions()[name]:
        places.append(f'<a href="{kernel_url(name, each.file)}">{each.file}:{each.line}</a>')
        if (name, each.file) in mirror.by_place():
            places.append(f'<a href="{model_url(name, each.file)}">model</a>')
    return f"<li><code>{name}</code> {' · '.join(places + chapters(name))}</li>"


def chapters(name: str) -> list[str]:
    """Links to the places of the book that tell of a function or a structure, seen from a chapter's page."""
    return [f'<a href="{page}.html{at and "#"}{at}">{page.replace("-", " ")}</a>'
            for page, _, at in (place.partition("#") for place in told().get(name, ()))]


def _marked(line: str, found: list[Found]) -> str:
    """A line, in which what is known is marked; where two things overlap, the first one."""
    out, at = "", 0
    for each in sorted(found, key=lambda each: (each.start, -each.end)):
        if each.start >= at and (each.symptom or each.function in definitions()):
            href = f"#{each.symptom.key}" if each.symptom else \
                kernel_url(each.function, definitions()[each.function][0].file)
            out += f'{escape(line[at:each.start])}<a href="{href}"><mark>{escape(line[each.start:each.end])}</mark></a>'
            at = each.end
    return out + escape(line[at:])
