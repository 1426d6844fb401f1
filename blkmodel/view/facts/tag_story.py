"""A story for a tag map: tasks take tags, wait for them and give them back, one move a step.

The moves are drawn from a seed. What each of them does to the bitmap is done by the model's own functions, in
the order in which blk_mq_get_tag() and blk_mq_put_tag() call them; who waits sleeps, and goes on when it is woken.
"""

from functools import partial
from random import Random

from blkmodel.include.linux.sbitmap import DEFINE_SBQ_WAIT, sbitmap_queue, sbq_wait_ptr, sbq_wait_state
from blkmodel.lib import sbitmap
from blkmodel.lib.sbitmap import __sbitmap_queue_get as take, __sbitmap_queue_get_shallow as take_shallow
from blkmodel.services import GFP_KERNEL, TASK_UNINTERRUPTIBLE, io_schedule
from blkmodel.sim import Context, Kernel

STEPS = 56


class Story:
    """A bitmap and what happens to it. owners: tag → CPU that took it; waiting: task → where it sleeps,
    in the order in which they came.

    said: what the last move did, sentence by sentence; touched: the bits that it changed; woken: the wait queues in
    which it woke somebody. The bits in `owners` are those that are taken and not in their word's `cleared`.
    """

    def __init__(self, kernel: Kernel, depth: int, round_robin: bool = False, shallow: int = 0, seed: int = 1) -> None:
        self.kernel, self.shallow, self.random = kernel, shallow, Random(seed)
        self.bits = sbitmap_queue()
        assert sbitmap.sbitmap_queue_init_node(self.bits, depth, -1, round_robin, GFP_KERNEL, 0) == 0
        if shallow:
            sbitmap.sbitmap_queue_min_shallow_depth(self.bits, shallow)
        self.burst = max(1, depth // 16)
        self.owners: dict[int, int] = {}
        self.waiting: dict[Context, sbq_wait_state] = {}
        self.wait_index = self.tasks = 0
        self._begin()

    def _begin(self) -> None:
        self.said: list[str] = []
        self.touched: set[int] = set()
        self.woken: set[int] = set()

    def move(self, step: int) -> None:
        """Make the next move: at first tags are mostly taken, later mostly given back."""
        self._begin()
        phase = step % STEPS
        taking = 0.8 if phase < 12 else 0.95 if phase < 30 else 0.15 if phase < 44 else 0.5
        put = self.owners and (self.random.random() >= taking or len(self.waiting) > 11)
        cpu = int(self.random.random() * self.kernel.nr_cpu_ids)
        for _ in range(self.burst):
            if put and self.owners:
                self._put()
            elif not put:
                task = Context("task", f"t{self.tasks}", cpu)
                self.kernel.loop.post(task, partial(self._get, task))
                self.kernel.loop.run_due()
                self.tasks += 1
        if self.burst > 1 and len(self.said) > 2:
            self.said = [self.said[0], f"… {len(self.said) - 2} more such moves …", self.said[-1]]

    def _get(self, task: Context) -> None:
        """What blk_mq_get_tag() does: try; where there is none, choose a wait queue, try again (its requests may have
        been sent off meanwhile), stand in it, try, sleep."""
        hint, wait = self.bits.alloc_hint[task.cpu], DEFINE_SBQ_WAIT()
        tag = self._try(task)
        while tag == -1:
            ws, self.wait_index = sbq_wait_ptr(self.bits, self.wait_index)
            if (tag := self._try(task)) == -1:
                sbitmap.sbitmap_prepare_to_wait(self.bits, ws, wait, TASK_UNINTERRUPTIBLE)
                if (tag := self._try(task)) == -1:
                    self.waiting[task] = ws
                    self._tell(task, tag, hint)
                    io_schedule()
                    del self.waiting[task]
                    hint = self.bits.alloc_hint[task.cpu]
                sbitmap.sbitmap_finish_wait(self.bits, ws, wait)
        self._tell(task, tag, hint)

    def _try(self, task: Context) -> int:
        before = [word.cleared for word in self.bits.sb.map]
        tag = take_shallow(self.bits, self.shallow) if self.shallow else take(self.bits)
        self.said += [f"Word {i} has no free bit left: the {was.bit_count()} noted in cleared become free now."
                      for i, (was, word) in enumerate(zip(before, self.bits.sb.map, strict=True))
                      if was and not word.cleared]
        if tag != -1:
            self.owners[tag] = task.cpu
            self.touched.add(tag)
        return tag

    def _tell(self, task: Context, tag: int, hint: int) -> None:
        who = f"CPU {task.cpu}"
        if tag == -1:
            room = f" among the first {self.shallow} bits of each word" if self.shallow else ""
            self.said.append(f"{who} finds no free tag{room}: its task {task.name} sleeps in "
                             f"ws[{self.bits.ws.index(self.waiting[task])}].")
            return
        where = "exactly where its hint said" if tag == hint else f"its hint said {hint}"
        self.said.append(f"{who} takes tag {tag}; {where}.")

    def _put(self) -> None:
        """What blk_mq_put_tag() does, and then what those do who are woken by it."""
        tags = sorted(self.owners)
        tag = tags[int(self.random.random() * len(tags))]
        cpu, asleep = self.owners.pop(tag), dict(self.waiting)
        sbitmap.sbitmap_queue_clear(self.bits, tag, cpu)
        self.touched.add(tag)
        hint = "" if self.bits.round_robin else f", and is CPU {cpu}'s hint now"
        self.said.append(f"CPU {cpu} gives tag {tag} back: it is noted in cleared{hint}.")
        if woken := [ws for task, ws in asleep.items() if task.runnable]:
            self._wake(woken)

    def _wake(self, woken: list[sbq_wait_state]) -> None:
        index = self.bits.ws.index(woken[0])
        self.woken.add(index)
        are = "is" if len(woken) == 1 else "are"
        self.said.append(f"That completes a batch of {self.bits.wake_batch}: {len(woken)} of ws[{index}] {are} woken, "
                         f"and the turn passes to ws[{self.bits.wake_index}].")
        self.kernel.loop.run_due()


def story(kernel: Kernel, depth: int, step: int, round_robin: bool = False, shallow: int = 0, seed: int = 1) -> Story:
    """Tell the story up to a step, with a bitmap of so many tags; return it."""
    told = Story(kernel, depth, round_robin, shallow, seed)
    for each in range(step):
        told.move(each)
    return told
