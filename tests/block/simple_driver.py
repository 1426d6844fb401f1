"""A driver for tests: it takes requests, keeps them until it is told to finish them, and refuses when it is told to."""

from blkmodel.block import blk_core, blk_mq
from blkmodel.include.linux.blk_mq import BLK_EH_RESET_TIMER, blk_mq_ops, blk_mq_tag_set
from blkmodel.include.linux.blk_types import BLK_STS_OK
from blkmodel.services.base.err import IS_ERR
from blkmodel.services.memory.slab import NUMA_NO_NODE
from blkmodel.sim import this


class Driver:
    """A tag set with `queues` hardware queues. taken: the requests it has, oldest first; log: what happened, in order.

    refusals: statuses to answer the next requests with, instead of taking them.
    """

    def __init__(self, queues=1, depth=4, **more):
        self.taken = []
        self.log = []
        self.refusals = []
        self.committed = 0
        self.verdict = BLK_EH_RESET_TIMER
        operations = {"queue_rq": self.queue_rq, "complete": self.complete, "timeout": self.timeout,
                      **more.pop("ops", {})}
        self.set = blk_mq_tag_set(ops=blk_mq_ops(**operations), nr_hw_queues=queues, queue_depth=depth,
                                  numa_node=NUMA_NO_NODE, **more)
        self.queues = []

    def load(self, queues=1):
        """Allocate the tag set and so many request queues on it; return the first one."""
        assert blk_mq.blk_mq_alloc_tag_set(self.set) == 0
        for _ in range(queues):
            self.add_queue()
        return self.queues[0] if self.queues else None

    def add_queue(self):
        q = blk_mq.blk_mq_init_queue(self.set)
        assert not IS_ERR(q)
        self.queues.append(q)
        return q

    def unload(self):
        """Take everything apart again."""
        while self.queues:
            self.remove_queue(self.queues[-1])
        blk_mq.blk_mq_free_tag_set(self.set)

    def remove_queue(self, q):
        self.queues.remove(q)
        blk_core.blk_cleanup_queue(q)
        this().loop.settle()

    def queue_rq(self, hctx, bd):
        if self.refusals:
            status = self.refusals.pop(0)
            if status != BLK_STS_OK:
                self.log.append(("refused", bd.rq, status))
                return status
        blk_mq.blk_mq_start_request(bd.rq)
        self.taken.append(bd.rq)
        self.log.append(("taken", bd.rq, bd.last))
        return BLK_STS_OK

    def finish(self, rq=None, cpu=0):
        """Let the device be done with a request (the oldest), with an interrupt on that CPU."""
        rq = self.taken[0] if rq is None else rq
        self.taken.remove(rq)
        return this().task("interrupt", blk_mq.blk_mq_complete_request, rq, cpu=cpu)

    def complete(self, rq):
        self.log.append(("completed", rq, (this().context.kind, this().cpu)))
        blk_mq.blk_mq_end_request(rq, BLK_STS_OK)

    def timeout(self, rq, reserved):
        self.log.append(("late", rq, reserved))
        return self.verdict

    def heard(self, what):
        """The requests to which that happened, in order."""
        return [rq for event, rq, _ in self.log if event == what]
