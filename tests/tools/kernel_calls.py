"""The call trees of a read and a write as a packaged kernel's function_graph tracer shows them, beside the model's.

The model is of 5.4. What a later kernel calls stands beside what 5.4 calls in the same situation, function by function:

    =  both call it; of the functions that both have, the same one stands above it
    ~  both call it; another one stands above it
    +  not in 5.4's tree
    -  not in this kernel's tree: it has no function of that name any more (inlined, renamed or gone), or does not call
       it here

A packaged kernel is compiled with inlining, so a function that is not in its tree may still have run. Kept of what the
tracer shows are the functions of files that the model stands for, and those with a name of the block layer or of the
two drivers. `.part.0` and the like are taken off a name.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from blkmodel.capture import trees
from blkmodel.capture.reference import boot_reference, try_step
from blkmodel.capture.trees import Forest
from blkmodel.reference.source import comparable
from blkmodel.trace import record

ROOTS = ["blkdev_read_iter", "blkdev_write_iter", "nvme_irq", "blk_mq_complete_request", "blk_done_softirq",
         "blk_mq_run_work_fn", "blk_mq_requeue_work"]
"""At which the tracer begins."""
CPU, CPUS = 1, 4
PARAMETERS = {"nvme": {"max_ioqpairs": 7}, "null_blk": {"submit_queues": 3, "hw_queue_depth": 32}}
SETUP: dict[str, tuple[str, dict[str, Any]]] = {
    "nvme": ("nvme.probe", {"device": "nvme0", "write_queues": 0, "poll_queues": 0, "dbbuf": True}),
    "null_blk": ("null_blk.load", {})}
DISKS = {"nvme": "nvme0n1", "null_blk": "nullb0"}
"""In a document: which of several controllers was found first, is chance."""
OFFSETS = {"read": 0, "write": 8192}
REACHED = {"nvme": (r"nvme_queue_rqs?", r"nvme_irq", r".*bio_endio|.*bio_end_io_simple"),
           "null_blk": (r"null_queue_rqs?", r".*bio_endio|.*bio_end_io_simple")}
"""What a tree must have: the way there, and the way back."""
_OURS = re.compile("(^|_)(blk|blkdev|bio|bdev|plug|requests?|rq_qos|part|io_ticks|nvme|null|sbitmap|sbq|dd)(_|$)")
_LINE = re.compile(r" *(\d+)\) +(\S.*-\d+) +\| +(\S{4,}) \| ( *)([A-Za-z_][\w.]*)(?: \[\w+\])?\(\)")


def documents(said: str, release: str) -> Iterator[dict[str, Any]]:
    """The traces in what a kernel printed, each as a `blkmodel-calls/1` document."""
    for part in said.split("@@trace ")[1:]:
        head, _, text = part.partition("@@done")[0].partition("\n")
        driver, op = head.split()
        kind, facts = SETUP[driver]
        step = {"disk": DISKS[driver], "op": op, "offset": OFFSETS[op], "length": 4096, "cpu": CPU, "page_runs": [1]}
        yield {"format": "blkmodel-calls/1", "kernel": {"release": release},
               "scenario": {"name": f"{driver}-{op}-4k", "cpus": CPUS, "setup": [[kind, facts | PARAMETERS[driver]]],
                            "traced": ["io", step], "roots": ROOTS},
               "contexts": [{"context": kind, "calls": calls} for kind, calls in contexts(text).items() if calls]}


def contexts(text: str) -> dict[str, list[Any]]:
    """Kind of context → its calls, of what the tracer printed with `latency-format`: each call with what the kernel's
    flags said at its entry. What an interrupt did in the middle of another function is taken out of it."""
    found: dict[str, list[Any]] = {"task": [], "irq": [], "softirq": []}
    stacks: dict[tuple[str, str], list[tuple[int, str, list[Any]]]] = {}
    for cpu, task, flags, indent, name in _LINE.findall(text):
        kind = "irq" if flags[2] in "hH" else "softirq" if flags[2] == "s" else "task"
        stack = stacks.setdefault((cpu if task.startswith("<idle>") else "", task), [])
        while stack and stack[-1][0] >= len(indent):
            stack.pop()
        above = stack[-1] if stack and stack[-1][1] == kind else None
        calls = above[2] if above else found[kind]
        stack.append((len(indent), kind, calls))
        name = name.partition(".")[0]
        if _OURS.search(name) or name in comparable():
            below: list[Any] = []
            calls.append({name: below})
            stack[-1] = (len(indent), kind, below)
    return {kind: _leaves([call for call in calls if next(iter(call)) in ROOTS]) for kind, calls in found.items()}


def _leaves(calls: list[Any], above: str = "") -> list[Any]:
    """Calls as a recording has them: a name alone where nothing is below. A part of a function is that function."""
    kept: list[Any] = []
    for call in calls:
        (name, below), = call.items()
        below = _leaves(below, name)
        kept += below if name == above else [{name: below} if below else name]
    return kept


def of_kernel(document: dict[str, Any]) -> Forest:
    return tuple(tree for context in document["contexts"] for tree in trees.expand(context["calls"]))


def of_model(document: dict[str, Any]) -> Forest:
    """What 5.4 calls in the situation of a document, by the model; only what a tracer can see."""
    scenario = document["scenario"]
    boot_reference(scenario["cpus"])
    for step in scenario["setup"]:
        try_step(step, False)
    forests = record(lambda: try_step(scenario["traced"], False)).forest(scenario["roots"])
    return trees.keep(tuple(tree for nodes in forests.values() for tree in trees.of_nodes(nodes)),
                      comparable().__contains__)


def reached(document: dict[str, Any]) -> list[str]:
    """What a tree lacks that shows that the I/O came to the driver, and back; nothing where all is there."""
    driver, _, _ = document["scenario"]["name"].partition("-")
    names = trees.functions(of_kernel(document))
    return [wanted for wanted in REACHED[driver] if not any(re.fullmatch(wanted, name) for name in names)]


def compared(theirs: Forest, ours: Forest, has: set[str], later: Mapping[str, str] | None = None) -> list[str]:
    """Two forests, a line for each call of the kernel's, then for each function that only 5.4's has. has: names that a
    tracer can see in this kernel. later: name in 5.4 → its name in this kernel, where that is known."""
    later = later or {}
    earlier = {now: was for was, now in later.items()}
    theirs = _named(theirs, earlier)
    both = trees.functions(theirs) & trees.functions(ours)
    callers = _callers(trees.keep(ours, both.__contains__))
    lines = []

    def walk(forest: Forest, above: str, depth: int) -> None:
        for name, below in forest:
            sign = "+" if name not in both else "=" if above in callers[name] else "~"
            now = later.get(name, name)
            lines.append(f"{sign} {'  ' * depth}{now}" + f" (in 5.4: {name})" * (name != now))
            walk(below, name if name in both else above, depth + 1)
    walk(theirs, "", 0)
    return lines + [f"- {name}: " + ("is there, and is not called here" if later.get(name, name) in has else
                                     "no function of that name can be traced")
                    for name in _callers(ours) if name not in both]


def _named(forest: Forest, earlier: Mapping[str, str]) -> Forest:
    return tuple((earlier.get(name, name), _named(below, earlier)) for name, below in forest)


def _callers(forest: Forest, above: str = "", found: dict[str, set[str]] | None = None) -> dict[str, set[str]]:
    """Function → who calls it, in the order of the first calls."""
    found = {} if found is None else found
    for name, below in forest:
        found.setdefault(name, set()).add(above)
        _callers(below, name, found)
    return found


def summary(lines: list[str]) -> str:
    """How many functions (not calls) are of which kind."""
    kinds: dict[str, set[str]] = {"=": set(), "~": set(), "+": set(), "-": set()}
    for line in lines:
        kinds[line[0]].add(line[2:].split()[0])
    kinds["~"] -= kinds["="]
    return (f"{len(kinds['='])} functions are called as in 5.4, {len(kinds['~'])} by others, {len(kinds['+'])} are not "
            f"in 5.4's tree, {len(kinds['-'])} of 5.4's are not in this one")
