"""Scalable bitmaps: bits are given once and come back, waiters are woken, and memory is given back."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import blkmodel
from blkmodel.include.linux import sbitmap as header
from blkmodel.lib import sbitmap as lib
from blkmodel.services.base.err import EINVAL, ENOMEM
from blkmodel.services.data.list import list_del_init
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.services.tasks.sched import TASK_UNINTERRUPTIBLE, io_schedule
from blkmodel.services.tasks.wait import init_waitqueue_func_entry
from blkmodel.sim.kernel import Context
from tests.invariants import any_bit_clear

MAPS = Path(__file__).parents[1] / "recordings" / "linux-5.4" / "maps"
get, get_shallow = lib.__sbitmap_queue_get, lib.__sbitmap_queue_get_shallow  # in a class the names would be mangled


def queue(depth, shift=-1, round_robin=False, cpus=4, seed=0):
    blkmodel.boot(cpus, seed)
    sbq = header.sbitmap_queue()
    assert lib.sbitmap_queue_init_node(sbq, depth, shift, round_robin, GFP_KERNEL, 0) == 0
    return sbq


def on_cpu(cpu, fn, *args):
    kernel = blkmodel.sim.this()
    return kernel.run_in(Context("task", "test", cpu), fn, *args)


def test_geometry_as_recorded():
    """Depth, bits a word, words and wake batch of every bitmap that the kernel showed."""
    seen = {tuple(sorted(case["observed"]["sbitmap"].items()))
            for path in MAPS.glob("*.json") for case in json.loads(path.read_text())["cases"]}
    for facts in map(dict, seen):
        sbq = queue(facts["depth"])
        assert facts == {"depth": sbq.sb.depth, "bits_per_word": 1 << sbq.sb.shift, "map_nr": sbq.sb.map_nr,
                         "wake_batch": sbq.wake_batch}
        assert [ws.wait_cnt for ws in sbq.ws] == [sbq.wake_batch] * 8
        assert all(hint < sbq.sb.depth for hint in sbq.alloc_hint)
    assert len(seen) > 3


@given(st.integers(0, 20000), st.integers(-1, 6))
def test_words_cover_the_depth(depth, shift):
    blkmodel.boot(1)
    sb = header.sbitmap()
    assert lib.sbitmap_init_node(sb, depth, shift, GFP_KERNEL, 0) == 0
    assert sum(word.depth for word in sb.map or ()) == depth
    assert sb.map_nr == len(sb.map or ())
    if shift < 0 and depth >= 4:
        assert sb.map_nr >= 4
    assert lib.sbitmap_any_bit_set(sb) is False
    assert any_bit_clear(sb) is (depth > 0)


def test_a_word_has_64_bits():
    blkmodel.boot(1)
    assert lib.sbitmap_init_node(header.sbitmap(), 128, 7, GFP_KERNEL, 0) == -EINVAL


def test_hints_come_from_the_seed():
    assert list(queue(64, seed=1).alloc_hint) == list(queue(64, seed=1).alloc_hint)
    assert list(queue(64, seed=1).alloc_hint) != list(queue(64, seed=2).alloc_hint)
    assert list(queue(64, round_robin=True, seed=1).alloc_hint) == [0] * 4


@given(st.integers(1, 300), st.booleans(), st.integers(0, 5))
def test_every_bit_is_given_once(depth, round_robin, seed):
    sbq = queue(depth, round_robin=round_robin, seed=seed)
    taken = [get(sbq) for _ in range(depth)]
    assert sorted(taken) == list(range(depth))
    assert get(sbq) == -1
    assert sbq.alloc_hint[0] == 0
    assert any_bit_clear(sbq.sb) is False
    for nr in taken:
        lib.sbitmap_queue_clear(sbq, nr, 0)
    assert lib.sbitmap_any_bit_set(sbq.sb) is False
    assert sorted(get(sbq) for _ in range(depth)) == list(range(depth))


def test_a_freed_bit_is_the_cpus_next():
    """The CPU that took a bit looks there first when it has come back: but only words tell what is free."""
    sbq = queue(4, shift=0)
    sbq.alloc_hint[2] = 3
    assert on_cpu(2, get, sbq) == 3
    lib.sbitmap_queue_clear(sbq, 3, 2)
    assert sbq.alloc_hint[2] == 3
    assert on_cpu(2, get, sbq) == 3


def test_a_freed_bit_stays_taken_until_its_word_is_full():
    sbq = queue(8, shift=2)
    sbq.alloc_hint[0] = 0
    assert [get(sbq) for _ in range(3)] == [0, 1, 2]
    lib.sbitmap_queue_clear(sbq, 1, 1)
    assert sbq.sb.map[0].word == 0b0111
    assert sbq.sb.map[0].cleared == 0b0010
    assert lib.sbitmap_weight(sbq.sb) - lib.sbitmap_cleared(sbq.sb) == 2
    sbq.alloc_hint[0] = 0
    assert get(sbq) == 3
    sbq.alloc_hint[0] = 0
    assert get(sbq) == 1
    assert sbq.sb.map[0].cleared == 0


def test_a_hint_moves_only_when_it_was_right():
    sbq = queue(16, shift=2)
    sbq.alloc_hint[0] = 5
    assert get(sbq) == 4  # the hint names the word; the word's first bit is taken
    assert sbq.alloc_hint[0] == 5
    assert get(sbq) == 5
    assert sbq.alloc_hint[0] == 6
    sbq.alloc_hint[0] = 14
    header.sbitmap_set_bit(sbq.sb, 12)
    header.sbitmap_set_bit(sbq.sb, 13)
    assert get(sbq) == 14
    assert sbq.alloc_hint[0] == 0  # the last bit is never a hint


def test_a_hint_beyond_the_depth_is_drawn_again():
    sbq = queue(64)
    sbq.alloc_hint[0] = 63
    lib.sbitmap_queue_resize(sbq, 8)
    nr = get(sbq)
    assert 0 <= nr < 8
    assert sbq.alloc_hint[0] < 8


def test_round_robin_goes_on_where_it_was():
    sbq = queue(8, shift=2, round_robin=True)
    assert [get(sbq) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    for nr in (0, 1):
        lib.sbitmap_queue_clear(sbq, nr, 0)
    assert get(sbq) == 6
    assert sbq.alloc_hint[0] == 0  # 7 is the last bit: never a hint
    assert get(sbq) == 0


@given(st.integers(1, 200), st.integers(1, 64), st.integers(0, 3))
def test_shallow_leaves_the_rest_of_each_word(depth, shallow, seed):
    sbq = queue(depth, seed=seed)
    lib.sbitmap_queue_min_shallow_depth(sbq, shallow)
    bits = 1 << sbq.sb.shift
    allowed = {nr for nr in range(depth) if nr % bits < shallow}
    taken = [get_shallow(sbq, shallow) for _ in allowed]
    assert set(taken) == allowed
    assert get_shallow(sbq, shallow) == -1
    assert (get(sbq) == -1) is (len(allowed) == depth)
    lib.sbitmap_queue_clear(sbq, taken[0], 0)
    assert get_shallow(sbq, shallow) == taken[0]


def test_shallower_than_announced_is_a_warning():
    sbq = queue(64)
    lib.sbitmap_queue_min_shallow_depth(sbq, 8)
    get_shallow(sbq, 7)
    assert "WARNING" in blkmodel.sim.this().log[-1]


@given(st.integers(1, 2000), st.integers(1, 64))
def test_the_wake_batch_lets_every_queue_be_woken(depth, shallow):
    """Freeing all that can be out at once completes a batch for each of the eight queues (or batches are single)."""
    sbq = queue(depth)
    lib.sbitmap_queue_min_shallow_depth(sbq, shallow)
    bits = 1 << sbq.sb.shift
    out = sum(min(word.depth, shallow, bits) for word in sbq.sb.map)
    assert 1 <= sbq.wake_batch <= 8
    assert sbq.wake_batch * 8 <= out or sbq.wake_batch == 1


def test_a_new_wake_batch_wakes_with_the_next_free():
    sbq = queue(1024)
    assert sbq.wake_batch == 8
    lib.sbitmap_queue_resize(sbq, 16)
    assert sbq.wake_batch == 2
    assert [ws.wait_cnt for ws in sbq.ws] == [1] * 8
    lib.sbitmap_queue_resize(sbq, 17)
    assert sbq.wake_batch == 2


class Waiters:
    """Waiters that only note in which order they are woken."""

    def __init__(self, sbq):
        self.sbq, self.woken, self.all = sbq, [], {}

    def add(self, name, ws):
        waiter = header.sbq_wait()

        def wake(entry):
            self.woken.append(name)
            list_del_init(entry, "entry")
            return 1
        init_waitqueue_func_entry(waiter.wait, wake)
        lib.sbitmap_add_wait_queue(self.sbq, ws, waiter)
        self.all[name] = waiter


@given(st.integers(1, 1024), st.integers(0, 7))
def test_a_waiter_is_woken_after_a_batch_of_frees(depth, index):
    sbq = queue(depth)
    taken = [get(sbq) for _ in range(depth)]
    waiters = Waiters(sbq)
    waiters.add("a", sbq.ws[index])
    assert sbq.ws_active == 1
    for nr in taken[:sbq.wake_batch - 1]:
        lib.sbitmap_queue_clear(sbq, nr, 0)
        assert waiters.woken == []
    lib.sbitmap_queue_clear(sbq, taken[sbq.wake_batch - 1], 0)
    assert waiters.woken == ["a"]
    assert sbq.wake_index == (index + 1) % 8
    assert sbq.ws[index].wait_cnt == sbq.wake_batch
    lib.sbitmap_del_wait_queue(waiters.all["a"])
    assert sbq.ws_active == 0


def test_queues_are_woken_in_turn():
    sbq = queue(64)
    assert sbq.wake_batch == 8
    waiters = Waiters(sbq)
    for index in (6, 1, 3):
        waiters.add(index, sbq.ws[index])
    for _ in range(3 * 8):
        lib.sbitmap_queue_clear(sbq, get(sbq), 0)
    assert waiters.woken == [1, 3, 6]


def test_waiting_twice_counts_once():
    sbq = queue(8)
    waiters = Waiters(sbq)
    waiters.add("a", sbq.ws[0])
    lib.sbitmap_add_wait_queue(sbq, sbq.ws[1], waiters.all["a"])
    assert sbq.ws_active == 1
    assert len(sbq.ws[1].wait.head) == 0


def test_wait_pointers_go_round():
    sbq = queue(8)
    index, seen = 0, []
    for _ in range(9):
        ws, index = header.sbq_wait_ptr(sbq, index)
        seen.append(ws)
    assert seen == [*sbq.ws, sbq.ws[0]]


def test_a_task_sleeps_until_a_bit_comes_free():
    sbq = queue(1)
    kernel = blkmodel.sim.this()
    assert get(sbq) == 0
    kernel.loop.post(Context("irq", "completion", 1), lambda: lib.sbitmap_queue_clear(sbq, 0, 1), delay=5000)

    def task():
        waiter = header.DEFINE_SBQ_WAIT()
        while True:
            lib.sbitmap_prepare_to_wait(sbq, sbq.ws[0], waiter, TASK_UNINTERRUPTIBLE)
            nr = get(sbq)
            if nr != -1:
                break
            io_schedule()
        lib.sbitmap_finish_wait(sbq, sbq.ws[0], waiter)
        return nr, kernel.now
    assert kernel.task("sleeper", task) == (0, 5000)
    assert sbq.ws_active == 0


def test_wake_all_wakes_one_exclusive_waiter_of_each_queue():
    sbq = queue(64)
    kernel = blkmodel.sim.this()
    sleepers = [[Context("task", f"t{i}{j}", 0) for j in range(2)] for i in range(3)]
    for ws, tasks in zip(sbq.ws, sleepers, strict=False):
        for task in tasks:
            kernel.run_in(task, lambda ws=ws: lib.sbitmap_prepare_to_wait(
                sbq, ws, header.DEFINE_SBQ_WAIT(), TASK_UNINTERRUPTIBLE))
    assert sbq.ws_active == 6
    lib.sbitmap_queue_wake_all(sbq)
    assert [[task.runnable for task in tasks] for tasks in sleepers] == [[True, False]] * 3


@given(st.integers(1, 300), st.data())
def test_for_each_set_visits_what_is_out_once_round(depth, data):
    sbq = queue(depth)
    out = {get(sbq) for _ in range(data.draw(st.integers(0, depth)))}
    back = set(data.draw(st.lists(st.sampled_from(sorted(out)), unique=True))) if out else set()
    for nr in back:
        lib.sbitmap_queue_clear(sbq, nr, 0)
    start = data.draw(st.integers(0, depth + 1))
    seen: list = []
    header.__sbitmap_for_each_set(sbq.sb, start, lambda sb, nr, seen: seen.append(nr) or True, seen)
    first = start if start < depth else 0
    assert seen == sorted(out - back, key=lambda nr: ((nr - first) % depth))
    some: list = []
    header.sbitmap_for_each_set(sbq.sb, lambda sb, nr, some: bool(some.append(nr)), some)
    assert some == sorted(out - back)[:1]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_failed_init_leaves_nothing(nth):
    memory = blkmodel.boot(4).memory
    before = memory.totals()
    memory.fail_nth(nth)
    assert lib.sbitmap_queue_init_node(header.sbitmap_queue(), 64, -1, False, GFP_KERNEL, 0) == -ENOMEM
    assert memory.totals() == before


def test_free_gives_everything_back():
    memory = blkmodel.boot(4).memory
    before = memory.totals()
    sbq = header.sbitmap_queue()
    lib.sbitmap_queue_init_node(sbq, 1023, -1, False, GFP_KERNEL, 0)
    taken = {kind: size - before.get(kind, 0) for kind, size in memory.totals().items() if size != before.get(kind)}
    assert taken == {("sbitmap_word[]", 0): 16 * 192, ("unsigned int[]", 0): 16, ("sbq_wait_state[]", 0): 8 * 64}
    header.sbitmap_queue_free(sbq)
    assert memory.totals() == before


class Bitmap(RuleBasedStateMachine):
    """Any order of taking, giving back and resizing, on any CPU."""

    def __init__(self):
        super().__init__()
        self.depth = self.most = 40
        self.sbq = queue(self.depth, shift=3)
        self.out = set()

    @rule(cpu=st.integers(0, 3))
    def take(self, cpu):
        nr = on_cpu(cpu, get, self.sbq)
        room = set(range(self.depth)) - self.out
        assert nr in room if room else nr == -1
        self.out |= {nr} - {-1}

    @rule(cpu=st.integers(0, 3), shallow=st.integers(1, 8))
    def take_shallow(self, cpu, shallow):
        self.sbq.min_shallow_depth = min(self.sbq.min_shallow_depth, shallow)
        nr = on_cpu(cpu, get_shallow, self.sbq, shallow)
        room = {n for n in range(self.depth) if n % 8 < shallow} - self.out
        assert nr in room if room else nr == -1
        self.out |= {nr} - {-1}

    @precondition(lambda self: self.out)
    @rule(data=st.data(), cpu=st.integers(0, 3))
    def give_back(self, data, cpu):
        nr = data.draw(st.sampled_from(sorted(self.out)))
        lib.sbitmap_queue_clear(self.sbq, nr, cpu)
        self.out.discard(nr)

    @rule(depth=st.integers(1, 40))
    def resize(self, depth):
        """A user waits until what is out fits before it makes the bitmap smaller."""
        assume(all(nr < depth for nr in self.out))
        lib.sbitmap_queue_resize(self.sbq, depth)
        self.depth = depth

    @invariant()
    def weight_is_what_is_out(self):
        sb = self.sbq.sb
        assert lib.sbitmap_weight(sb) - lib.sbitmap_cleared(sb) == len(self.out)
        assert lib.sbitmap_any_bit_set(sb) == bool(self.out)
        assert any_bit_clear(sb) == (len(self.out) < self.depth)
        assert all(header.sbitmap_test_bit(sb, nr) for nr in self.out)
        assert all(word.cleared & ~word.word == 0 for word in sb.map[:sb.map_nr])


TestBitmap = Bitmap.TestCase
TestBitmap.settings = settings(max_examples=40, deadline=None)
