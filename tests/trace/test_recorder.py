"""The recorder: what it sees, the trees it makes, and that it leaves nothing behind."""

import sys
from typing import Any

import pytest

import blkmodel
from blkmodel.include.linux.sbitmap import sbitmap, sbitmap_word
from blkmodel.reference import mirror
from blkmodel.reference.mirror import MirrorFunction
from blkmodel.services.base.printk import pr_info
from blkmodel.services.memory.slab import kcalloc, kfree, kzalloc
from blkmodel.services.tasks.workqueue import INIT_WORK, flush_work, queue_work, work_struct
from blkmodel.sim.kernel import Kernel
from blkmodel.sim.memory import Memory, place_array
from blkmodel.sim.structure import Array, Struct, sizeof
from blkmodel.trace import (Alloc, Assign, Call, ContextRecord, Enter, Free, Item, Leave, Log, RecordingError, Return,
    record, under_way)


def leaf(n):
    return n + 1


def parent(n):
    return sum(leaf(i) for i in range(n))


def failing():
    leaf(0)
    raise OSError("no")


def submit():
    work = work_struct()
    INIT_WORK(work, lambda work: parent(1), None)
    queue_work("worker", work)
    leaf(5)
    flush_work(work)
    leaf(6)


@pytest.fixture(autouse=True)
def kernel(monkeypatch):
    """A kernel, and a mirror that is these four functions."""
    functions: list[Any] = [leaf, parent, failing, submit]
    fake = [MirrorFunction(fn.__name__, "block/fake.c", fn) for fn in functions]
    monkeypatch.setattr(mirror, "functions", lambda: fake)
    return blkmodel.boot(2)


def untouched():
    return (sys.getprofile() is None and Memory.observer is None and Kernel.observer is None
            and "__setattr__" not in vars(Struct) and "__setitem__" not in vars(Array))


def shape(nodes):
    return [(node.function, shape(node.calls)) if node.calls else node.function for node in nodes]


def test_calls_and_returns():
    recording = record(parent, 2)
    assert recording.result == 3
    assert recording.events == [
        Call("parent", "block/fake.c", 0, 0),
        Call("leaf", "block/fake.c", 1, 0), Return("leaf", "block/fake.c", 1, 0, 1),
        Call("leaf", "block/fake.c", 1, 0), Return("leaf", "block/fake.c", 1, 0, 2),
        Return("parent", "block/fake.c", 0, 0, 3)]
    assert shape(recording.forest()[0]) == [("parent", ["leaf", "leaf"])]


def test_roots_are_the_outermost_calls_to_them():
    recording = record(lambda: (leaf(1), parent(2)))
    assert shape(recording.forest()[0]) == ["leaf", ("parent", ["leaf", "leaf"])]
    assert shape(recording.forest(["parent"])[0]) == [("parent", ["leaf", "leaf"])]
    assert shape(recording.forest(["leaf"])[0]) == ["leaf"] * 3
    assert recording.forest(["submit"]) == {}


def test_a_node_knows_its_events():
    recording = record(parent, 2)
    second = recording.forest()[0][0].calls[1]
    assert recording.events[second.start:second.end + 1] == [
        Call("leaf", "block/fake.c", 1, 0), Return("leaf", "block/fake.c", 1, 0, 2)]
    assert second.value == 2


def test_assignments_but_not_creation():
    with record() as recording:
        made = sbitmap()
        made.depth = 5
        made.map = words = [sbitmap_word()]
    assert recording.events == [Assign(made, "depth", 0, 5), Assign(made, "map", None, words)]


def test_only_the_structures_that_are_watched():
    with record(watched=(sbitmap,)) as recording:
        made, word = sbitmap(depth=3), sbitmap_word()
        made.depth, word.word = 5, 1
        kcalloc(3, "unsigned long", 0)[1] = 7
        assert not untouched()
    assert recording.of(Assign, Item) == [Assign(made, "depth", 3, 5)]
    assert untouched()
    assert "__setattr__" not in vars(sbitmap)
    assert record(setattr, made, "depth", 6, watched=()).events == []


def test_only_the_functions_that_are_asked_for():
    recording = record(parent, 1, watched=(), functions=("leaf",))
    assert recording.of(Call) == [Call("leaf", "block/fake.c", 0, 0)]


def test_the_calls_under_way_at_an_event():
    recording = record(lambda: (parent(1), parent(1)))
    nodes = recording.forest()[0]
    at = nodes[1].calls[0].start
    assert under_way(nodes, at) == [nodes[1], nodes[1].calls[0]]
    assert under_way(nodes, nodes[0].end) == [nodes[0]]
    assert under_way(nodes, len(recording.events)) == []
    nodes[1].end = None
    assert under_way(nodes, len(recording.events)) == [nodes[1]]


def test_structures_that_are_made_later():
    array = place_array(sbitmap_word, [None] * 3, 4096)
    with record() as recording:
        assert array.make(2) is array
        first = array[0]
        array.make(3)
    assert recording.events == []
    assert [each._addr for each in array] == [4096 + i * sizeof(sbitmap_word) for i in range(3)]
    assert array[0] is first


def test_items():
    with record() as recording:
        words = kcalloc(3, "unsigned long", 0)
        words[1] = 7
        words[0:2] = [8, 9]
    alloc, *items = recording.events
    assert (alloc.kind, alloc.size) == ("unsigned long[]", 24)
    assert items == [Item(words, 1, 0, 7), Item(words, slice(0, 2), [0, 7], [8, 9])]


def test_memory_and_log(kernel):
    with record() as recording:
        word = kzalloc(sbitmap_word, 0)
        kfree(word)
        kernel.memory.fail_nth(1)
        kzalloc(sbitmap_word, 0)
        pr_info("hello")
    count = kernel.memory.count
    size = sizeof(sbitmap_word)
    assert recording.events == [
        Alloc("sbitmap_word", size, 0, word._addr, count - 1), Free("sbitmap_word", size, 0, word._addr),
        Alloc("sbitmap_word", size, 0, 0, count), Log("hello")]


def test_a_context_of_its_own_for_deferred_work(kernel):
    recording = record(kernel.task, "dd", submit, cpu=1)
    assert recording.contexts == [ContextRecord("task", "swapper", 0), ContextRecord("task", "dd", 1),
                                  ContextRecord("task", "worker", 1)]
    forest = recording.forest()
    assert shape(forest[1]) == [("submit", ["leaf", "leaf"])]
    assert shape(forest[2]) == [("parent", ["leaf"])]
    assert [type(e) for e in recording.of(Enter, Leave)] == [Enter, Enter, Leave, Leave]
    assert [e.time for e in recording.of(Enter, Leave)] == [0] * 4
    task, worker = (e.posted for e in recording.of(Enter))
    assert task is None, "nobody queued it"
    queued, call = recording.events[worker:worker + 2]
    assert queued.field == "_event", "the first thing after the work was queued"
    assert call == Call("leaf", "block/fake.c", 1, 1)
    assert {call.depth for call in recording.of(Call) if call.context == 2} == {0, 1}


def test_a_kernel_booted_meanwhile_is_recorded():
    recording = record(lambda: blkmodel.boot(1).task("init", leaf, 1))
    assert recording.contexts[-1] == ContextRecord("task", "init", 0)


def test_nothing_is_left_behind():
    assert untouched()
    with record() as recording:
        assert not untouched()
    assert untouched()
    parent(3)
    sbitmap().depth = 5
    assert recording.events == []


def test_nothing_is_left_behind_by_an_exception():
    recording = record()
    with pytest.raises(OSError, match="no"), recording:
        failing()
    assert untouched()
    (tree,) = recording.forest()[0]
    assert (tree.function, tree.value, shape(tree.calls)) == ("failing", None, ["leaf"])


def test_a_nested_recording_is_refused():
    with record() as outer:
        with pytest.raises(RecordingError, match="a recording is on already"):
            record(leaf, 1)
        leaf(2)
    assert [call.function for call in outer.of(Call)] == ["leaf"]
    assert untouched()


def test_another_profiler_is_put_back():
    def mine(*_):
        return None
    sys.setprofile(mine)
    try:
        record(leaf, 1)
        assert sys.getprofile() is mine
    finally:
        sys.setprofile(None)


def test_two_recordings_of_the_same_are_equal():
    def step():
        kernel = blkmodel.boot(2, seed=3)
        kernel.task("dd", submit)
        return kzalloc(sbitmap_word, 0)
    first, second = record(step), record(step)
    plain = [[e for e in r.events if not isinstance(e, Assign | Item)] for r in (first, second)]
    assert plain[0] == plain[1]
    assert len(first.events) == len(second.events)
