"""`python -m tests.tools.readme`: write into README.md what the checker says today, and draw its picture anew.

The figures stand between two marks. tests/tools/test_readme.py holds README.md and the picture against
what this would write.
"""

import re
from pathlib import Path
from textwrap import wrap
from typing import Any

from blkmodel.capture.check import FAILED, PASSED, SKIPPED, check_file
from blkmodel.capture.formats import CALLS, CAPTURE, DEVICE, DMSETUP, HOTPLUG, NR_REQUESTS, STATUSES, read
from blkmodel.capture.vouched import said
from blkmodel.view.figures.machine_to_queues import machine_to_queues

ROOT = Path(__file__).resolve().parents[2]
README, PICTURE = ROOT / "README.md", ROOT / "book" / "picture.svg"
RECORDINGS = ROOT / "tests" / "recordings"
BEGIN, END = "<!-- figures: make readme -->\n", "<!-- end of figures -->\n"
MARGIN, LINES = 10, 300
MACHINE: dict[str, Any] = {"cpus": 8, "nodes": 2, "threads": 2, "queues": 6, "write_queues": 3, "poll_queues": 1}
SAID = {
    CAPTURE: "which queues the drivers got on {files} machines, who uses them, and what interrupts them",
    CALLS: "which functions the kernel called, and what its user saw, in {files} scenarios",
    DEVICE: "what an NVMe controller saw of its driver, in {files} scenarios",
    DMSETUP: "what device mapper answered, and made, in {files} session of dmsetup",
    HOTPLUG: "where interrupts go when a CPU goes and comes, in {files} table",
    NR_REQUESTS: "what writing nr_requests does, in {files} table",
    STATUSES: "what an NVMe status becomes, in {files} table",
}


def figures(check=check_file):
    """The table: one row for each format of recordings, with how many of them the model agrees with; and what they
    vouch for."""
    outcomes: dict[str, list] = {}
    for path in sorted((RECORDINGS / "linux-5.4").rglob("*.json")):
        outcomes.setdefault(read(path)["format"], []).append(check(path))
    rows = [f"| {SAID[name].format(files=len(of))} | {_today(of)} |" for name, of in sorted(outcomes.items())]
    later = [check(path) for path in sorted((RECORDINGS / "linux-6.12" / "maps").glob("*.json"))]
    rows.append(f"| the same as in the first row, of Linux 6.12, on {len(later)} machines | {_today(later)} |")
    packaged = [check(path) for path in sorted((RECORDINGS / "debian").rglob("*.json"))]
    rows.append(f"| the same, of Debian's kernels 6.1 and 6.12, on {len(packaged)} machines | {_today(packaged)} |")
    return "\n".join(["| recorded | the model today |", "|---|---|", *rows, "", *wrap(said(), 120), ""])


def _today(outcomes):
    """How the recordings of one format fared."""
    number = {result: sum(each.result == result for each in outcomes) for result in (PASSED, FAILED, SKIPPED)}
    total = {key: sum(each.facts.get(key, 0) for each in outcomes)
             for key in ("cases", "passed", "paths", "paths_made")}
    omitted = sum(sum(each.facts.get("omitted", {}).values()) for each in outcomes)
    words = [f"{number[PASSED]} of {len(outcomes)} agree"]
    if total["cases"]:
        words.append(f"{total['passed']} of {total['cases']} cases")
    if total["paths"]:
        words.append(f"{total['paths_made']} of {total['paths']} paths from root to function, {omitted} calls omitted")
    if number[SKIPPED]:
        words.append(f"{number[SKIPPED]} not modelled yet")
    return "; ".join(words)


def picture():
    """The queue map of a machine, as a file that stands alone and follows the reader's choice of light or dark."""
    html = machine_to_queues(**MACHINE)
    label = re.search(r'role="img" aria-label="(.*?)"', html)[1]
    style = re.sub(r"html\[data-theme=dark\] \.blk,body\[data-jp-theme-light=false\] \.blk(\{[^}]*\})",
                   r"@media (prefers-color-scheme:dark){.blk\1}", "".join(re.findall("<style>(.*?)</style>", html)))
    parts, x, height = [], float(MARGIN), 0.0
    for attributes, shapes in re.findall("<svg (.*?)>(.*?)</svg>", html):
        # The part in the middle, the lines, takes whatever width there is.
        height = float(re.search(r"height:([\d.]+)px", attributes)[1])
        fixed = re.search(r'\bwidth="([\d.]+)"', attributes)
        width = float(fixed[1]) if fixed else LINES
        kept = " ".join(re.findall(r'(?:class|viewBox|preserveAspectRatio)="[^"]*"', attributes))
        parts.append(f'<svg x="{x:g}" y="{MARGIN}" width="{width:g}" height="{height:g}" {kept}>{shapes}</svg>')
        x += width
    width, height = x + MARGIN, height + 2 * MARGIN
    return (f'<svg xmlns="http://www.w3.org/2000/svg" class="blk blk-map" role="img" aria-label="{label}" '
            f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}">\n<style>{style}</style>\n'
            f'<rect width="100%" height="100%" style="fill:var(--blk-paper)"/>{"".join(parts)}\n</svg>\n')


def in_readme(text, table):
    """The text of README.md with this table in its place."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table + END + rest.split(END)[1]


def main():
    README.write_text(in_readme(README.read_text(), figures()))
    PICTURE.write_text(picture())


if __name__ == "__main__":
    main()
