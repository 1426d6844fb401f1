"""Three places where two CPUs meet, as the memory accesses that they consist of; and a walk over every interleaving.

Each place has two programs, one for each CPU, of small steps: a read, a write, an atomic operation, a barrier, each
with the function and the line of the kernel that it is taken from. An order says which steps a CPU does, one after the
other: the kernel's, and such as lack a barrier or a second look. Where it matters (`buffered`), a write stays in its
CPU's store buffer for a while, where the other CPU cannot see it; that CPU's next barrier or atomic operation empties
it.
"""

from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

WAITS, END = "waits", "end"


class Cpu:
    """A CPU with the memory that both share, and what it has written that has not arrived there."""

    def __init__(self, memory: dict[str, Any], buffer: list[tuple[str, Any]], buffered: bool) -> None:
        self.memory, self.buffer, self._buffered = memory, buffer, buffered

    def load(self, name: str) -> Any:
        """What this CPU reads there: what it wrote last, if that is still under way."""
        return dict([*self.memory.items(), *self.buffer])[name]

    def store(self, name: str, value: Any) -> None:
        self.buffer.append((name, value))
        if not self._buffered:
            self.fence()

    def fence(self) -> None:
        """Let everything that was written arrive."""
        self.memory.update(self.buffer)
        self.buffer.clear()

    def atomic(self, name: str, change: int) -> Any:
        """Add to a number, as one operation that no other comes into. Returns the sum."""
        self.fence()
        self.memory[name] += change
        return self.memory[name]


class Step(NamedTuple):
    """What a CPU does at once: what it is in words; where the kernel does it; does(cpu) returns the name of the step
    that comes next, END, or WAITS where it cannot be done now; None: the one behind it."""

    said: str
    function: str
    line: int
    does: Callable[[Cpu], str | None]


class Place(NamedTuple):
    """memory: what is in it at first. cpus: letter → who runs there. orders: KERNEL → letter → names of steps; and what
    is done differently → the steps of who does. wrong(memory): what must never be so, or nothing; stuck: what it is
    when nobody can go on."""

    memory: dict[str, Any]
    cpus: dict[str, str]
    steps: dict[str, Step]
    orders: dict[str, dict[str, str]]
    wrong: Callable[[dict[str, Any]], str]
    stuck: str
    buffered: bool = False

    def program(self, order: str, letter: str) -> list[str]:
        """The names of the steps of a CPU."""
        return (self.orders[KERNEL] | self.orders[order])[letter].split()


class World(NamedTuple):
    """A state: memory; by CPU which of its steps is next (their number where it has ended), and its store buffer."""

    memory: tuple[tuple[str, Any], ...]
    at: tuple[int, ...]
    buffers: tuple[tuple[tuple[str, Any], ...], ...]


class Walk(NamedTuple):
    """states: how many there are that some interleaving comes to. complaint: what is wrong in the first that is; run:
    how it came to that (if nothing is: to the end): a letter for each step of that CPU, a small one where its oldest
    write arrives."""

    states: int
    complaint: str
    run: str


def _when(name: str, value: Any, then: str | None, other: str | None = None) -> Callable[[Cpu], str | None]:
    """A step that reads: it goes to `then` where that value stands there, else to `other`."""
    return lambda cpu: then if cpu.load(name) == value else other


def _does(*actions: Any) -> Callable[[Cpu], str | None]:
    """A step that writes: a name and a value each."""
    def does(cpu: Cpu) -> None:
        for name, value in actions:
            cpu.store(name, value)
    return does


def _changed(name: str, change: int, zero: str | None = None, other: str | None = None) -> Callable[[Cpu], str | None]:
    """A step that counts: it goes to `zero` where the sum is 0, else to `other`."""
    return lambda cpu: other if cpu.atomic(name, change) else zero


def _take(cpu: Cpu) -> str | None:
    if cpu.load("free tags"):
        cpu.atomic("free tags", -1)
        return END
    return None


KERNEL = "as the kernel does it"
PLACES = {
    "the last tag": Place(
        {"free tags": 0, "in line": 0, "waiter": "runs"}, {"W": "who wants a tag", "F": "who frees it"}, {
            "try": Step("looks for a free tag", "blk_mq_get_tag", 153, _take),
            "line": Step("stands in line", "sbitmap_prepare_to_wait", 693, _does(("in line", 1))),
            "state": Step("is about to sleep", "sbitmap_prepare_to_wait", 693, _does(("waiter", "sleeps"))),
            "seen": Step("barrier", "sbitmap_prepare_to_wait", 693, Cpu.fence),
            "again": Step("looks once more", "blk_mq_get_tag", 159, _take),
            "sleep": Step("sleeps", "blk_mq_get_tag", 164, _when("waiter", "sleeps", WAITS, "try")),
            "clear": Step("gives the tag back", "sbitmap_queue_clear", 590, _does(("free tags", 1))),
            "barrier": Step("smp_mb__after_atomic", "sbitmap_queue_clear", 598, Cpu.fence),
            "who": Step("is somebody in line?", "sbq_wake_ptr", 516, _when("in line", 0, END)),
            "wake": Step("wakes the first", "__sbq_wake_up", 559, _does(("in line", 0), ("waiter", "runs")))}, {
            KERNEL: {"W": "try line state seen again sleep", "F": "clear barrier who wake"},
            "without the second look": {"W": "try line state seen sleep"},
            "without the waiter's barrier": {"W": "try line state again sleep"},
            "without the waker's barrier": {"F": "clear who wake"}},
        lambda memory: "", "The waiter sleeps, and nobody will wake it, though a tag is free.", True),
    "freeze and enter": Place(
        {"mq_freeze_depth": 0, "counter": "live", "readers under RCU": 0, "inside": 0, "enterer": "runs",
         "depth it read": 0, "scheduler": "at work"}, {"E": "who enters", "Z": "who freezes"}, {
            "rcu": Step("begins to read under RCU", "blk_queue_enter", 407, _changed("readers under RCU", 1)),
            "early": Step("reads mq_freeze_depth too early", "blk_queue_enter", 438,
                          lambda cpu: cpu.store("depth it read", cpu.load("mq_freeze_depth"))),
            "live": Step("looks whether the counter lives", "blk_queue_enter", 408, _when("counter", "dead", "out")),
            "count": Step("counts itself in", "blk_queue_enter", 408, _changed("inside", 1)),
            "read": Step("has read", "blk_queue_enter", 420, _changed("readers under RCU", -1)),
            "leave": Step("leaves", "blk_queue_exit", 449, _changed("inside", -1, END, END)),
            "out": Step("has read; it may not enter", "blk_queue_enter", 420, _changed("readers under RCU", -1)),
            "stale": Step("goes by the depth that it read", "blk_queue_enter", 438, _when("depth it read", 0, "rcu")),
            "wait": Step("begins to wait", "blk_queue_enter", 437, lambda cpu: None),
            "line": Step("stands in line, about to sleep", "blk_queue_enter", 437, _does(("enterer", "sleeps"))),
            "look": Step("reads mq_freeze_depth", "blk_queue_enter", 438, _when("mq_freeze_depth", 0, "again")),
            "sleep": Step("sleeps", "blk_queue_enter", 437, _when("enterer", "sleeps", WAITS, "wait")),
            "again": Step("tries again", "blk_queue_enter", 403, lambda cpu: _does(("enterer", "runs"))(cpu) or "rcu"),
            "depth": Step("++mq_freeze_depth", "blk_freeze_queue_start", 149, _does(("mq_freeze_depth", 1))),
            "kill": Step("marks the counter as dead", "blk_freeze_queue_start", 150, _does(("counter", "dead"))),
            "grace": Step("a grace period", "blk_freeze_queue_start", 150, _when("readers under RCU", 1, WAITS)),
            "sum": Step("until nobody is inside", "blk_mq_freeze_queue_wait", 162, _when("inside", 1, WAITS)),
            "change": Step("takes the scheduler away", "elevator_switch", 719, _does(("scheduler", "gone"))),
            "done": Step("has put another there", "elevator_switch", 719, _does(("scheduler", "at work"))),
            "undo": Step("--mq_freeze_depth", "blk_mq_unfreeze_queue", 205, _does(("mq_freeze_depth", 0))),
            "revive": Step("lets the counter live", "blk_mq_unfreeze_queue", 208, _does(("counter", "live"))),
            "wake": Step("wakes all that stand in line", "blk_mq_unfreeze_queue", 209, _does(("enterer", "runs")))}, {
            KERNEL: {"E": "rcu live count read leave out wait line look sleep again",
                     "Z": "depth kill grace sum change done undo revive wake"},
            "without the second look": {"E": "rcu live count read leave out wait look line sleep again"},
            "without the grace period": {"Z": "depth kill sum change done undo revive wake"},
            "woken too early": {"Z": "depth kill grace sum change done wake undo revive"},
            "without smp_rmb": {"E": "rcu early live count read leave out stale wait line look sleep again"}},
        lambda memory: "An I/O is inside a queue that is frozen, and finds no scheduler."
        if memory["inside"] and memory["scheduler"] == "gone" else "",
        "Who wants to enter sleeps, and nobody will wake it, though the queue is not frozen any more."),
    "timeout and completion": Place(
        {"its I/O": 1, "state": "in flight", "deadline": "over", "ref": 1, "driver is asked about": 0},
        {"C": "the completion, and the tag's next user", "T": "the timeout"}, {
            "complete": Step("state: complete", "__blk_mq_complete_request", 589, _does(("state", "complete"))),
            "idle": Step("state: idle", "blk_mq_free_request", 534, _does(("state", "idle"))),
            "drop": Step("gives its reference back", "blk_mq_free_request", 535, _changed("ref", -1, None, END)),
            "next": Step("another I/O gets it", "blk_mq_rq_ctx_init", 352, _does(("its I/O", 2), ("ref", 1))),
            "timer": Step("a new deadline", "blk_mq_start_request", 693, _does(("deadline", "ahead"))),
            "start": Step("state: in flight", "blk_mq_start_request", 694, _does(("state", "in flight"))),
            "flies": Step("in flight?", "blk_mq_req_expired", 873, _when("state", "in flight", None, END)),
            "late": Step("deadline over?", "blk_mq_req_expired", 878, _when("deadline", "ahead", END)),
            "get": Step("takes a reference, unless there is none", "blk_mq_check_expired", 910,
                        lambda cpu: END if not cpu.load("ref") else _changed("ref", 1)(cpu)),
            "flies?": Step("still in flight?", "blk_mq_check_expired", 919, _when("state", "in flight", None, "put")),
            "late?": Step("deadline still over?", "blk_mq_check_expired", 919, _when("deadline", "ahead", "put")),
            "ask": Step("asks the driver", "blk_mq_rq_timed_out", 859,
                        lambda cpu: cpu.store("driver is asked about", cpu.load("its I/O"))),
            "put": Step("gives its reference back", "blk_mq_check_expired", 924, _changed("ref", -1, END, END))}, {
            KERNEL: {"C": "complete idle drop next timer start", "T": "flies late get flies? late? ask put"},
            "without the second look": {"T": "flies late get ask put"},
            "without the reference": {"T": "flies late flies? late? ask"},
            "in flight before its deadline is set": {"C": "complete idle drop next start timer"}},
        lambda memory: "The driver is asked to abort an I/O that has only begun."
        if memory["driver is asked about"] == 2 else "", "")}


def moves(place: Place, order: str, world: World) -> dict[str, World]:
    """The states that come next, by the letter of who goes on, or whose write arrives."""
    found = {}
    for n, letter in enumerate(place.cpus):
        names = place.program(order, letter)
        for small in (False, True):
            memory, buffer, at = dict(world.memory), list(world.buffers[n]), world.at[n]
            if small and buffer:
                memory.update([buffer.pop(0)])
            elif small or at == len(names):
                continue
            else:
                to = place.steps[names[at]].does(Cpu(memory, buffer, place.buffered))
                if to == WAITS:
                    continue
                at = at + 1 if to is None else names.index(to) if to in names else len(names)
            ats, buffers = list(world.at), list(world.buffers)
            ats[n], buffers[n] = at, tuple(buffer)
            found[letter.lower() if small else letter] = World(tuple(memory.items()), tuple(ats), tuple(buffers))
    return found


def beginning(place: Place) -> World:
    return World(tuple(place.memory.items()), (0,) * len(place.cpus), ((),) * len(place.cpus))


def complaint(place: Place, order: str, world: World) -> str:
    """What is wrong in a state, or nothing."""
    ended = all(at == len(place.program(order, letter)) for at, letter in zip(world.at, place.cpus, strict=True))
    return place.wrong(dict(world.memory)) or ("" if ended or moves(place, order, world) else place.stuck)


@lru_cache(maxsize=32)
def walk(where: str, order: str) -> Walk:
    """Come to every state that an interleaving can come to, the nearest first, and look whether it is right."""
    place = PLACES[where]
    runs, todo, wrong, run = {beginning(place): ""}, deque([beginning(place)]), "", ""
    while todo:
        world = todo.popleft()
        following, bad = moves(place, order, world), complaint(place, order, world)
        if not wrong and (bad or not following):
            run, wrong = runs[world], bad
        for letter, after in following.items():
            if after not in runs:
                runs[after] = runs[world] + letter
                todo.append(after)
    return Walk(len(runs), wrong, run)
