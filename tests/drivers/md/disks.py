"""Disks for tests: they keep data, several may lead to the same data, and each fails or waits when it is told to."""

from blkmodel.block import blk_core, blk_mq, blk_settings, genhd
from blkmodel.include.linux.blk_mq import blk_mq_ops, blk_mq_tag_set
from blkmodel.include.linux.blk_types import BLK_STS_OK, REQ_OP_READ, REQ_OP_WRITE
from blkmodel.include.linux.blkdev import QUEUE_FLAG_NONROT, req_op, rq_data_dir, rq_for_each_segment
from blkmodel.include.linux.genhd import (GENHD_FL_EXT_DEVT, GENHD_FL_SUPPRESS_PARTITION_INFO, block_device_operations,
    set_capacity)
from blkmodel.services.base.err import IS_ERR
from blkmodel.services.memory.slab import NUMA_NO_NODE
from blkmodel.sim import this
from blkmodel.sim.kernel import Context

MAJOR = 240


def alloc_disk():
    return genhd.__alloc_disk_node(1, NUMA_NO_NODE)


class Disk:
    """A disk with one hardware queue, `/dev/NAME`. store: its data, a bytearray.

    status: what each request ends with, from now on; one that fails moves no data. refusals: statuses to answer the
    next requests with, instead of taking them. busy: what blk_lld_busy() says. delay: nanoseconds that a request
    takes. seen: (operation, sector, sectors, status) of each request that ended, in order.
    """

    major = MAJOR

    def __init__(self, name, store, depth=8, delay=1000, cache=False):
        self.name, self.store, self.delay = name, store, delay
        self.status = BLK_STS_OK
        self.refusals: list[int] = []
        self.seen: list[tuple[int, int, int, int]] = []
        self.busy = False
        ops = blk_mq_ops(queue_rq=self.queue_rq, complete=self.complete, busy=lambda q: self.busy)
        self.set = blk_mq_tag_set(ops=ops, nr_hw_queues=1, queue_depth=depth, numa_node=NUMA_NO_NODE)
        assert blk_mq.blk_mq_alloc_tag_set(self.set) == 0
        self.queue = blk_mq.blk_mq_init_queue(self.set)
        assert not IS_ERR(self.queue)
        blk_core.blk_queue_flag_set(QUEUE_FLAG_NONROT, self.queue)
        blk_settings.blk_queue_write_cache(self.queue, cache, cache)
        self.disk = alloc_disk()
        set_capacity(self.disk, len(store) // 512)
        self.disk.flags |= GENHD_FL_EXT_DEVT | GENHD_FL_SUPPRESS_PARTITION_INFO
        self.disk.major, self.disk.first_minor = self.major, int(name.strip("abcdefghijklmnopqrstuvwxyz"))
        self.disk.fops = block_device_operations()
        self.disk.queue, self.disk.disk_name = self.queue, name
        genhd.device_add_disk(None, self.disk, None)
        self.seen.clear()  # looking for partitions

    def remove(self):
        genhd.del_gendisk(self.disk)
        blk_core.blk_cleanup_queue(self.queue)
        genhd.put_disk(self.disk)
        blk_mq.blk_mq_free_tag_set(self.set)

    @property
    def number(self):
        return f"{self.major}:{self.disk.first_minor}"

    def queue_rq(self, hctx, bd):
        if self.refusals:
            status = self.refusals.pop(0)
            if status != BLK_STS_OK:
                return status
        rq = bd.rq
        blk_mq.blk_mq_start_request(rq)
        context = Context("irq", self.name, this().cpu)
        this().loop.post(context, lambda: blk_mq.blk_mq_complete_request(rq), self.delay)
        return BLK_STS_OK

    def complete(self, rq):
        self.seen.append((req_op(rq), rq._sector, rq._data_len // 512, self.status))
        if self.status == BLK_STS_OK and req_op(rq) in (REQ_OP_READ, REQ_OP_WRITE):
            at = rq._sector * 512
            for bv in rq_for_each_segment(rq):
                if rq_data_dir(rq):
                    self.store[at:at + bv.bv_len] = bv.bv_page.read(bv.bv_offset, bv.bv_len)
                else:
                    bv.bv_page.write(bv.bv_offset, bytes(self.store[at:at + bv.bv_len]))
                at += bv.bv_len
        blk_mq.blk_mq_end_request(rq, self.status)


def load(make):
    """Run make() as a process, and return what it returns."""
    return this().task("insmod", make)
