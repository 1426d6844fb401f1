"""Holding the model's calls against a recording of a kernel's (`blkmodel-calls/1`).

Both sides keep the functions that the tracer could see and the model stands for; everything else is dropped, and its
children move up. Then every task tree of the recording must be the model's, those of one task with one root in their
order (which of two tasks was first, the order of their contexts does not say), and the model may have no other task
tree with such a root; every interrupt or softirq tree of the recording must be a
distinct one of the model, which may have more: in the kernel interrupts were batched, or the trace ended before them.
Names in reference/omitted.tsv are dropped from the recording, and counted; but for those that no
recording is said to run, which a recording then must not show.

What interrupts a traced function is traced from its first function on, whatever the roots. So an interrupt's or
softirq's trees begin, on the model's side too, with the roots or with what such trees of the recording begin with.

Which CPU a worker ran on is chance, and a process that is not bound to one may run anywhere too: check.py lets the
model's run on each in turn. So it is chance whether the request of such a task is completed on another CPU than the one
that the interrupt came to: a leaf raise_blk_irq of __blk_complete_request() may be there or not, in as many trees as
such tasks began requests. Of several requests that such a task has under way at once, the first that is freed runs the
queue (blk_mq_sched_restart): which one that is, is chance as well. Those let pass are counted.

How many completions one interrupt finds is chance as well: a tree of nvme_irq or blk_done_softirq is taken apart into
one for each completion, and one that found none is dropped. So is a run of blk_mq_timeout_work in which nothing was
late, since when a timer fires, and whether an older one fires first, depends on what came before, and
blk_rq_timed_out_timer counts once; and of blk_mq_run_work_fn that had nothing to give to the driver, since somebody
else was faster. Where several processes are at work, who drops the last reference of a disk (nvme_free_ns) is the one
that closes it, or the one that removes it. All that is so on both sides, and counted.

How often a process that polls asks before its command has ended is chance, too. Taken out on both sides, and counted,
are calls of nvme_poll() by blk_poll() that found nothing; and those of blk_poll() that, besides, did not sleep.

How often a request is tried again that is put off each time, until something else happens, is chance: of equal trees of
blk_mq_requeue_work() that put a request off, all but the first are taken out on both sides, and counted.

Now and then the tracer loses where a function ended, and takes what its caller called next for its own calls. So an
interrupt's or softirq's tree that the model has none of may be one of the model's in which the last calls of one
function are its caller's instead. Those are counted.

One thing a recording cannot say of itself is which driver modules the tracer knew: a module that was loaded after the
tracer was told what to trace is missing from the trees altogether, however traceable its functions are. Its calls into
the core are there. So, where the model's run calls functions of a file below drivers/ and not one function of that
file occurs in the recording, that file was not traced: its functions are dropped on the model's side, with their
children moving up, and the report says so. This holds for whole files of drivers only, of which the recording knows not
one function. The core (block/, fs/, lib/, kernel/) is part of the kernel image and was traced, but for LATER: what
scans for partitions was out of scope when the first recordings were taken, and their tracer was not told of it. Those
are the recordings without `observed`; the others hold the scan, call by call.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Any, NamedTuple

from blkmodel.capture import trees
from blkmodel.capture.trees import Forest, Tree
from blkmodel.reference import mirror
from blkmodel.reference.source import comparable, definitions
from blkmodel.trace import Node, Recording

LATER = ("block/partition-generic.c", "block/partitions/")
"""Files of the core that the tracer of the first recordings was not told of."""
ELSEWHERE = "trees that differ only in which CPU completes a request of a task that may run anywhere"
APART = {"nvme_irq": {"blk_mq_tag_to_rq", "nvme_complete_async_event"}}
"""Root of an interrupt's tree → what each of the completions that it finds begins with."""
LATE = {"blk_mq_timeout_work": "blk_mq_rq_timed_out", "blk_mq_run_work_fn": "blk_mq_get_driver_tag"}
"""Root of a task's tree → what it calls where it does anything."""
LAST = "nvme_free_ns"
"""What whoever drops the last reference of a disk calls."""
IDLE = "calls of nvme_poll() by blk_poll(), or of blk_poll(), that found nothing"
ASKED = {"blk_mq_poll_hybrid", "blk_mq_tag_to_rq", "blk_mq_poll_hybrid_sleep"}
"""What a blk_poll() that found nothing and did not sleep has called besides."""
LOST_END = "trees in which the tracer lost where a function ended"
PUT_OFF = "trees of blk_mq_requeue_work() that put a request off as the one before did"
MOST_WAYS = 1000  # in which trees of several tasks are put in one order that are tried at a time
Contexts = list[tuple[str, Forest]]
"""Of each context its kind, and its trees."""


class Share(NamedTuple):
    """Distinct in-scope paths, root to function, of a recording: how many the model makes, of how many."""

    made: int
    total: int

    def __str__(self) -> str:
        return f"{self.made} of {self.total} paths ({100 * self.made / self.total if self.total else 100:.1f} %)"


class Comparison(NamedTuple):
    """What a comparison found. differences: a line each; none means that the model did what the kernel did.

    trees: how many of the recording were compared. omitted: calls of the recording that were dropped because
    omitted.tsv has them. untraced: files of drivers that the recording has nothing of. chance: what may differ and
    does, with how often.
    """

    differences: list[str]
    trees: int
    share: Share
    omitted: dict[str, int]
    untraced: list[str]
    chance: dict[str, int]


def compare(document: dict[str, Any], recording: Recording, without: frozenset[int] = frozenset()) -> Comparison:
    """Compare a recording of the kernel, as read, with one of the model's recorder, of the same scenario, but for what
    ran in the contexts `without`."""
    recorded = [(context["context"], trees.expand(context["calls"])) for context in document["contexts"]]
    begun = sum(trees.calls_to(forest, {"blk_mq_start_request"})
                for context, (kind, forest) in zip(document["contexts"], recorded, strict=True)
                if kind == "task" and not _bound(document, context))
    roots = document["scenario"]["roots"]
    forests = {number: nodes for number, nodes in recording.forest(roots).items()
               if recording.contexts[number].kind == "task"}
    roots = {*roots, *(tree[0] for kind, forest in recorded if kind != "task" for tree in forest)}
    forests |= {number: nodes for number, nodes in recording.forest(roots).items()
                if recording.contexts[number].kind != "task"}
    seen = frozenset[str]().union(*(trees.functions(forest) for _, forest in recorded))
    untraced = untraced_files(seen, forests, "observed" in document)
    wanted = comparable()
    chance: Counter[str] = Counter()
    chance["calls of the recording that are out of scope, or not traceable everywhere"] = sum(
        trees.calls_to(forest, trees.functions(forest) - wanted) for _, forest in recorded)
    model = [(recording.contexts[number].kind, trees.keep(trees.of_nodes(nodes, untraced), wanted.__contains__))
             for number, nodes in forests.items() if number not in without]

    recorded = [(kind, trees.keep(forest, wanted.__contains__)) for kind, forest in recorded]
    chance[IDLE] += sum(trees.calls_to(forest, {"nvme_poll", "blk_poll"}) for _, forest in recorded)
    recorded, model = ([(kind, _without_idle_polls(forest)) for kind, forest in side] for side in (recorded, model))
    chance[IDLE] -= sum(trees.calls_to(forest, {"nvme_poll", "blk_poll"}) for _, forest in recorded)
    recorded = [(kind, forest if kind == "task" else _mended(forest, model, chance)) for kind, forest in recorded]
    share = _share(recorded, model)
    omitted = mirror.uncompared()
    dropped = {name: calls for name in sorted(omitted)
               if (calls := sum(trees.calls_to(forest, {name}) for _, forest in recorded))}
    recorded = [(kind, trees.keep(forest, lambda name: name not in omitted)) for kind, forest in recorded]
    number = sum(len(forest) for _, forest in recorded)
    recorded, model = _settled(recorded, chance), _settled(model, Counter())
    if document["scenario"]["traced"][0] == "together":
        recorded, model = ([(kind, _without(LAST, forest)) for kind, forest in side] for side in (recorded, model))
    theirs_put_off, ours_put_off = set[Tree](), set[Tree]()
    tasks = [_put_off_once(forest, theirs_put_off, chance) for kind, forest in recorded if kind == "task"]
    ours = {root: list(_put_off_once(forest, ours_put_off, Counter()))
            for root, forest in _roots(model, "task").items()}
    differences = _compare_tasks([_roots([("task", forest)], "task") for forest in tasks], ours)
    for kind in ("irq", "softirq"):
        theirs, ours = _roots(recorded, kind), _roots(model, kind)
        found, elsewhere = _compare_interrupts(kind, theirs, ours, begun)
        differences += found
        chance[ELSEWHERE] += elsewhere
        more = sum(len(found) for found in ours.values()) - sum(len(found) for found in theirs.values())
        if more > 0:
            chance[f"{kind} trees that only the model has"] = more
    return Comparison(differences, number, share, dropped, sorted(untraced), dict(+chance))


def _settled(contexts: Contexts, chance: Counter[str]) -> Contexts:
    """Contexts without what is chance in how completions come together, and in when timers fire."""
    settled: Contexts = []
    timers: set[Tree] = set()
    for kind, forest in contexts:
        kept: list[Tree] = []
        for tree in forest:
            root = tree[0]
            if kind == "task":
                parts = [tree] if root not in LATE or LATE[root] in trees.functions((tree,)) else []
            elif root == "blk_rq_timed_out_timer":
                parts = [] if tree in timers else [tree]
                timers.add(tree)
            elif root in APART:
                parts = _apart(tree, APART[root])
            else:
                parts = [(root, (each,)) for each in tree[1]] if root == "blk_done_softirq" else [tree]
            if len(parts) != 1:
                chance[f"trees of {root} that " + ("end several" if parts else "find nothing")] += 1
            kept += parts
        settled.append((kind, tuple(kept)))
    return settled


def _without(name: str, forest: Forest) -> Forest:
    """A forest without a function, and all that it calls."""
    return tuple((function, _without(name, below)) for function, below in forest if function != name)


def _apart(tree: Tree, begins: set[str]) -> list[Tree]:
    """A tree as several, each with one of the completions that it found, which `begins` tells apart."""
    root, calls = tree
    parts: list[Tree] = []
    for at, (function, below) in enumerate(calls):
        starts = [i for i, (name, _) in enumerate(below) if name in begins]
        for start, end in pairwise([*starts, len(below)]):
            parts.append((root, (*calls[:at], (function, below[start:end]), *calls[at + 1:])))
    return parts


def _bound(document: dict[str, Any], context: dict[str, Any]) -> bool:
    """Whether a context is that of a process that the step binds to a CPU."""
    step = document["scenario"]["traced"]
    steps = [each["step"] for each in step[1]["steps"]] if step[0] == "together" else [step]
    return context.get("task") in ("blkio", "dio") and any(isinstance(each[1], dict) and "cpu" in each[1]
                                                           for each in steps)


def untraced_files(seen: frozenset[str], forests: dict[int, list[Node]], later: bool) -> frozenset[str]:
    """Return the files below drivers/, and of a recording that is not a `later` one those of LATER, that the model
    called, and of which the recording has seen no function."""
    places = ("drivers/",) if later else ("drivers/", *LATER)
    called = {node.file for nodes in forests.values() for tree in nodes for node in tree.walk()
              if node.file.startswith(places)}
    return frozenset(called - {each.file for name in seen for each in definitions().get(name, ())})


def _put_off_once(forest: Iterable[Tree], before: set[Tree], chance: Counter[str]) -> Forest:
    """Trees without those that put a request off as one of those `before` did, which the others are added to."""
    kept = []
    for tree in forest:
        again = tree[0] == "blk_mq_requeue_work" and "blk_mq_delay_kick_requeue_list" in trees.functions((tree,))
        if not again or tree not in before:
            kept.append(tree)
        else:
            chance[PUT_OFF] += 1
        if again:
            before.add(tree)
    return tuple(kept)


def _mended(forest: Forest, model: Contexts, chance: Counter[str]) -> Forest:
    """Interrupts' trees, with the end of a function that the tracer lost in one put where the model has it."""
    there = {tree for kind, its in model if kind != "task" for tree in its}
    mended = []
    for tree in forest:
        if tree not in there and (found := next((each for each in _with_one_end_moved(tree) if each in there), None)):
            chance[LOST_END] += 1
            tree = found
        mended.append(tree)
    return tuple(mended)


def _with_one_end_moved(tree: Tree) -> Iterator[Tree]:
    """Yield the trees in which the last calls of one function are its caller's instead."""
    function, calls = tree
    for i, (callee, below) in enumerate(calls):
        for end in range(len(below)):
            yield function, (*calls[:i], (callee, below[:end]), *below[end:], *calls[i + 1:])
        for moved in _with_one_end_moved((callee, below)):
            yield function, (*calls[:i], moved, *calls[i + 1:])


def _without_idle_polls(forest: Forest) -> Forest:
    kept: list[Tree] = []
    for function, below in forest:
        asked = tuple(tree for tree in below if function != "blk_poll" or tree != ("nvme_poll", ()))
        slept = len(asked) == len(below) > 0
        if function != "blk_poll" or slept or trees.functions(asked) - ASKED:
            kept.append((function, _without_idle_polls(asked)))
    return tuple(kept)


def _share(recorded: Contexts, model: Contexts) -> Share:
    made: set[tuple[str, ...]] = set().union(*(trees.paths(forest) for _, forest in model))
    wanted: set[tuple[str, ...]] = set().union(*(trees.paths(forest) for _, forest in recorded))
    return Share(len(wanted & made), len(wanted))


def _roots(forests: Contexts, kind: str) -> dict[str, list[Tree]]:
    """Return root function → its trees in the contexts of a kind, in order."""
    by_root: dict[str, list[Tree]] = {}
    for its_kind, forest in forests:
        if its_kind == kind:
            for tree in forest:
                by_root.setdefault(tree[0], []).append(tree)
    return by_root


def _compare_tasks(tasks: list[dict[str, list[Tree]]], model: dict[str, list[Tree]]) -> list[str]:
    """tasks: root → trees, of each context of a task."""
    differences = []
    for root in sorted({root for task in tasks for root in task} | model.keys()):
        parts, ours = [task[root] for task in tasks if root in task], model.get(root, [])
        theirs = _merged(parts, ours) or [tree for part in parts for tree in part]
        if len(theirs) != len(ours):
            differences.append(f"task: the recording has {len(theirs)} trees of {root}, the model {len(ours)}")
        for i, (their, our) in enumerate(zip(theirs, ours, strict=False), 1):
            if their != our:
                which = f" {i}" if len(theirs) > 1 else ""
                differences.append(f"task tree{which}: {trees.first_difference((their,), (our,))}")
    return differences


def _merged(parts: list[list[Tree]], wanted: list[Tree]) -> list[Tree]:
    """`wanted`, if that is what the parts come to in some order that leaves each part in its own; else []."""
    if sum(map(len, parts)) != len(wanted):
        return []
    reached = {(0,) * len(parts)}
    for tree in wanted:
        reached = set(islice(((*at[:i], at[i] + 1, *at[i + 1:]) for at in reached for i, part in enumerate(parts)
                              if at[i] < len(part) and part[at[i]] == tree), MOST_WAYS))
    return wanted if reached else []


def _compare_interrupts(kind: str, recorded: dict[str, list[Tree]], model: dict[str, list[Tree]],
                        begun: int) -> tuple[list[str], int]:
    """Returns the differences, and how many trees, at most `begun`, differ only in which CPU completes a request."""
    differences, elsewhere = [], 0
    for root, theirs in sorted(recorded.items()):
        ours = model.get(root, [])
        left = list((Counter(ours) - Counter(theirs)).elements())
        anywhere = [_anywhere(tree) for tree in left]
        missing: Counter[Tree] = Counter()
        for tree in (Counter(theirs) - Counter(ours)).elements():
            if elsewhere < begun and _anywhere(tree) in anywhere:
                anywhere.remove(_anywhere(tree))
                elsewhere += 1
            else:
                missing[tree] += 1
        for tree, times in missing.items():
            if ours:
                where = trees.first_difference((tree,), (ours[0],))
                differences.append(f"{kind} tree: {times} of {len(theirs)} trees of {root} are none of the model's "
                                   f"{len(ours)}; against its first: {where or 'equal, but it has too few'}")
            else:
                differences.append(f"{kind} tree: the recording has {len(theirs)} trees of {root}, the model none")
                break
    return differences, elsewhere


def _anywhere(tree: Tree) -> Tree:
    """A tree without what tells whether a request is completed on another CPU; and, unless its task sleeps until it is
    complete, whether it is the first of several to be freed, which runs the queue."""
    alone = "blk_end_sync_rq" in trees.functions((tree,))

    def without(tree: Tree) -> Tree:
        function, below = tree
        away = ("raise_blk_irq", ()) if function == "__blk_complete_request" else None
        kept = () if function == "blk_mq_sched_restart" and not alone else below
        return function, tuple(without(each) for each in kept if each != away)
    return without(tree)
