"""The queues of a reader's own machine, from the file that `blkmodel capture` wrote there.

    live(your_machine, pasted=Text(size=64, file=True), case=Slider(0, last_case),
         focus=Slider(0, last_cpu, none="no CPU"))
"""

from html import escape

from blkmodel.capture.maps import describe
from blkmodel.sim import format_cpulist
from blkmodel.view.draw import panel
from blkmodel.view.facts.at_hand import SEVERAL, AtHand, at_hand
from blkmodel.view.facts.words import many
from blkmodel.view.figures.queue_map import queue_map


def your_machine(pasted: str = "", case: int = 0, focus: int | None = None) -> str:
    """Draw the map that the kernel reported of one case, and say of all whether the model gets the same.

    pasted: what is in the file; nothing of it is kept or sent anywhere. focus: a CPU whose path is lit.
    """
    if not (found := at_hand(pasted)):
        said = "Choose a file that blkmodel capture has written, or paste what is in it."
        return panel("blk-explain", said, "explain", f"<p>{said}</p>")
    said = (f"Linux {found.release} on {many(len(found.machine.possible), 'CPU')}, "
            f"{many(len(found.machine.nodes), 'node')}. {found.summary()}")
    parts = [f'<p class="says">{escape(said)}</p>']
    if found.cases:
        verdict, lines = found.verdicts[case]
        which = f"Case {case}, {describe(found.cases[case])}"
        said += f" {which}: {verdict}. {'; '.join(lines)}"
        parts += [f"<p><b>{escape(which)}</b>: {verdict}.</p>",
                  f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else "",
                  _map(found, case, focus), _all(found)]
    return panel("blk-explain", said, "explain", *parts)


def _map(found: AtHand, case: int, focus: int | None) -> str:
    if not found.drawable(case):
        return "<p>No queue, or more than are drawn.</p>"
    q, kernel = found.queue(case)
    with kernel:
        return queue_map(q, kernel, focus)


def _all(found: AtHand) -> str:
    """Which cases came to what, where not all came to the same."""
    came: dict[str, list[int]] = {}
    for i, (verdict, _) in enumerate(found.verdicts):
        came.setdefault(verdict, []).append(i)
    each = (f"{format_cpulist(cases)} {SEVERAL[verdict] if len(cases) > 1 else verdict}"
            for verdict, cases in came.items())
    return f"<p>Cases {'; '.join(each)}.</p>" if len(came) > 1 else ""


def last_case(pasted: str) -> int:
    """The number of the last case that a file has."""
    found = at_hand(pasted)
    return max(len(found.cases) - 1, 0) if found else 0


def last_cpu(pasted: str) -> int:
    """The highest CPU that can be in focus."""
    found = at_hand(pasted)
    return max(found.machine.possible) if found else 0
