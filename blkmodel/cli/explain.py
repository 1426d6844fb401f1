"""`blkmodel explain`: what a kernel log, a stack or a trace is about, as text."""

from blkmodel.reference import mirror
from blkmodel.reference.source import definitions
from blkmodel.view.facts.explained import Symptom, explain, told


def explained(lines: list[str]) -> str:
    """Say of each symptom and function in these lines, once, where it first is and what the book knows of it."""
    found: dict[Symptom | str, list[int]] = {}
    for each in explain(lines):
        found.setdefault(each.symptom or each.function, []).append(each.line)
    unknown = [what for what in found if isinstance(what, str) and what not in definitions()]
    said = [_said(what, lines, at) for what, at in found.items() if what not in unknown]
    said += [f"not known: {', '.join(unknown[:40])}{' …' * (len(unknown) > 40)}"] * bool(unknown)
    silent = len(lines) - len({line for at in found.values() for line in at})
    return "\n".join([*said, f"{silent} of {len(lines)} lines say nothing that the book knows"])


def _said(what: Symptom | str, lines: list[str], at: list[int]) -> str:
    """What is known of a symptom or a function that is in these lines."""
    where = f"line {at[0] + 1}" + f" ({len(at)} times)" * (len(at) > 1)
    if isinstance(what, Symptom):
        return (f"{where}: {lines[at[0]].strip()}\n    {what.means}\n    made in {what.function}, {what.place()}; see "
                f"book/symptoms.html#{what.key}" + f"; try book/{what.figure}" * bool(what.figure))
    model = mirror.by_place()
    places = [f"{each.file}:{each.line}" for each in definitions()[what]]
    places += [f"model {model[what, each.file].__module__.replace('.', '/')}.py" for each in definitions()[what]
               if (what, each.file) in model]
    return f"{where}: {what}: {', '.join(places + [f'book/{place}' for place in told().get(what, ())])}"
