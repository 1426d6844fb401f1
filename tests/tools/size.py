"""`make size`: lines of code by room, beside the C that the mirror's rooms stand for, and what there may be at most.

Documentation, comments and blank lines do not count, on either side. The lines of the C files are kept in c_lines.tsv;
`python -m tests.tools.size --kernel TREE` counts them anew in a source tree of the reference kernel.
"""

import argparse
import re
from collections import Counter
from pathlib import Path

from blkmodel.reference.rooms import modules, room_of

TABLE = Path(__file__).with_name("c_lines.tsv")
BUDGET = {
    "block": 6048, "fs": 1027, "lib, kernel": 396, "drivers/md": 4261, "drivers/nvme": 2362, "other drivers": 827,
    "include": 1400, "services": 3929, "sim": 1215, "device": 1099, "trace": 664, "reference": 164, "userland": 2985,
    "top": 529, "capture": 2025, "view": 4915, "live": 517, "cli": 603, "releases": 215,
}
HOUSE, CORE, END = 31_000, 1_200, 34_000
"""What the package may hold without what came SINCE; the path that the source notes follow, which is read in an
evening; and what the package may hold whatever comes."""
SINCE = {
    "ioctls, numbers of 32 bits, and what is lost where memory runs out": 350, "files of a queue": 90,
    "partitions, and what shows them": 680, "Kyber": 330, "what vouches for a function": 90,
    "charts and graphs in chapters": 165, "the first chapter": 150,
    "controllers that can less; ends of a trace; volumes in use": 105,
    "tasks that overtake, locks that exclude, time that passes": 670,
    "what people ask: interrupts, limits, paths, schedulers": 240, "what a log, a stack or a trace is about": 130,
    "steps of failure and load, and what a controller is like": 200, "the page cache": 260, "what a user saw": 105,
    "what becomes of a read, and of a status": 95, "headers by their own names": 28,
    "fio's jobs, and where time goes": 801, "three races; CPUs that come and go": 230,
    "kernels after 5.4; the queues of a machine at hand": 345, "what no recording, chapter or figure reaches": -573,
    "then and now": 182, "what tools say of a session": 295, "a reader's machine on a page": 142,
    "the same said of each import and structure": -1367,
    "requests made when they are used; recordings told what to note": 60,
    "careless steps, and what comes to no end": 169, "what thirty more scenarios of a kernel showed": 70,
    "stacks of a page that are handed over to at once": 10,
    "who goes first, and commands that end late, as check tries it": 129,
}
"""Parts that the package got since it kept to HOUSE, and their lines."""
PACKAGE = HOUSE + sum(SINCE.values())
_QUIET = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<comment>/\*.*?\*/|//[^\n]*)', re.DOTALL)


def model():
    """Room → lines of code."""
    lines: Counter[str] = Counter()
    for each in modules():
        lines[each.room] += each.lines
    return lines


def c_code_lines(source):
    """How many lines of a C file are neither blank nor all comment."""
    def without(found):
        return re.sub(r"[^\n]+", " ", found[0]) if found["comment"] else found[0]
    return sum(bool(line.strip()) for line in _QUIET.sub(without, source).splitlines())


def files():
    """The kernel's files that the modules stand for."""
    return sorted(each.file for each in modules() if each.file)


def kernel():
    """File → lines of C, as they were counted."""
    rows = (line.split("\t") for line in TABLE.read_text().splitlines()[1:])
    return {file: int(lines) for file, lines in rows}


def count(tree):
    """Count the C files in a source tree, and keep the numbers."""
    rows = [f"{file}\t{c_code_lines((tree / file).read_text('latin1'))}\n" for file in files()]
    TABLE.write_text("".join(["file\tlines\n", *rows]))


def report():
    """The table, as text."""
    counted, of_c = model(), kernel()
    c_lines: Counter[str] = Counter()
    for file in files():
        c_lines[room_of(Path(file))] += of_c[file]
    rows = [f"{'room':14} {'lines':>6} {'at most':>8} {'of C':>7}"]
    for room in [*BUDGET, *sorted(counted.keys() - BUDGET)]:
        most = BUDGET.get(room, 0)
        over = "" if counted[room] <= most else f"  {counted[room] - most} too many"
        rows.append(f"{room:14} {counted[room]:6} {most:8} {c_lines[room] or '':7}{over}")
    rows.append(f"{'all':14} {counted.total():6} {PACKAGE:8} {c_lines.total():7}")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.tools.size", description=__doc__.split("\n")[0])
    parser.add_argument("--kernel", metavar="TREE", type=Path, help="count the C files anew in this source tree")
    tree = parser.parse_args().kernel
    if tree:
        count(tree)
    print(report())


if __name__ == "__main__":
    main()
