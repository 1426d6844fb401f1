"""A disk in memory whose device does all that a device may do, by chance from a seed, and checks what it is given.

It completes in any order, on any CPU, in parts; it refuses requests; it begins nothing before the driver was told that
no more comes (bd.last, commit_rqs); it forgets what was neither flushed nor written through. Sleepers move to other
CPUs meanwhile.
"""

from random import Random

from blkmodel.block import blk_core, blk_merge, blk_mq, blk_mq_cpumap, blk_settings, elevator, genhd
from blkmodel.include.linux.bio import bio_for_each_segment, bio_sectors
from blkmodel.include.linux.blk_mq import BLK_MQ_F_SHOULD_MERGE, HCTX_MAX_TYPES, HCTX_TYPE_POLL, blk_mq_rq_to_pdu
from blkmodel.include.linux.blk_types import (BLK_STS_DEV_RESOURCE, BLK_STS_OK, BLK_STS_RESOURCE, REQ_FUA,
    REQ_OP_DISCARD, REQ_OP_FLUSH, REQ_OP_READ, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES)
from blkmodel.include.linux.blkdev import QUEUE_FLAG_DISCARD, bios_of, blk_rq_sectors, req_op, rq_for_each_segment
from blkmodel.include.linux.genhd import block_device_operations, set_capacity
from blkmodel.services.memory.scatterlist import scatterlist, sg_init_table, sg_next
from blkmodel.sim import this
from blkmodel.sim.kernel import Context
from blkmodel.sim.structure import Struct
from tests.block.simple_driver import Driver

SECTORS = 8192


def new_disk():
    return genhd.__alloc_disk_node(1, 0)


class Token(Struct, size=16):
    """The driver's own data behind a request, which nobody else may touch."""

    __slots__ = ("begun",)

    def __init__(self):
        self.begun = False


class RamDisk(Driver):
    """`name` is the disk's. bytes: what a read gives; durable: what would be left after a loss of power.

    beside: another disk of the same controller, whose tags it shares, and which is removed after it. polled: one of its
    queues (it has two at least) is for polling.
    """

    def __init__(self, name="ram0", seed=0, cache=False, fua=False, refuse=0.0, commits=False, scheduler="none",
                 beside=None, polled=False, **more):
        self.random = Random(seed)
        self.refuse, self.inflight, self.waiting = refuse, {}, {}
        self.taken_up = 0
        limits = more.pop("limits", {})
        ops = {"commit_rqs": self.commit_rqs} if commits else {}
        if polled:
            # the last of the queues raises no interrupt; reads, and what else there is, have what is before it
            ops |= {"poll": self.poll, "map_queues": self.map_queues}
            more["nr_maps"] = HCTX_MAX_TYPES
        self.ready = []
        super().__init__(flags=BLK_MQ_F_SHOULD_MERGE, cmd_size=Token.SIZE, ops=ops, **more)
        self.commits, self.cache, self.beside = commits, cache, beside
        if beside is not None:
            self.set, self.commits = beside.set, beside.commits
        q = self.q = self.load() if beside is None else self.add_queue()
        q.queuedata = self
        blk_settings.blk_queue_write_cache(q, cache, fua)
        blk_settings.blk_queue_max_hw_sectors(q, 2560)
        blk_settings.blk_queue_max_discard_sectors(q, 1 << 20)
        blk_core.blk_queue_flag_set(QUEUE_FLAG_DISCARD, q)
        for limit, value in limits.items():
            if limit == "seg_boundary_mask":  # which no driver of the model sets
                setattr(q.limits, limit, value)
            else:
                getattr(blk_settings, f"blk_queue_{limit}")(q, value)
        self.bytes = bytearray(SECTORS * 512)
        self.durable = bytearray(SECTORS * 512)
        self.unflushed = {}  # sector → its bytes, in the device's cache only
        self.disk = new_disk()
        self.disk.major, self.disk.first_minor = 8, int(name[-1])
        self.disk.disk_name, self.disk.queue, self.disk.fops = name, q, block_device_operations()
        set_capacity(self.disk, SECTORS)
        this().task("insmod", genhd.device_add_disk, None, self.disk, None)
        assert elevator.elv_iosched_store(q, scheduler, len(scheduler)) == len(scheduler)
        self.name = name

    def remove(self):
        genhd.del_gendisk(self.disk)
        if self.beside is None:
            self.unload()
        else:
            self.remove_queue(self.q)
        genhd.put_disk(self.disk)

    def queue_rq(self, hctx, bd):
        if hctx.queue is not self.q:
            return hctx.queue.queuedata.queue_rq(hctx, bd)
        rq = bd.rq
        busy = self.inflight.setdefault(hctx, set())
        if self.random.random() < self.refuse:
            # to say that one's own requests will make room, one must have some
            return self.random.choice([BLK_STS_RESOURCE, BLK_STS_DEV_RESOURCE]) if busy else BLK_STS_RESOURCE
        blk_mq.blk_mq_start_request(rq)
        self.taken_up += 1
        self.check(rq)
        token = blk_mq_rq_to_pdu(rq, Token)
        assert not token.begun
        token.begun = True
        busy.add(rq)
        waiting = self.waiting.setdefault(hctx, [])
        waiting.append(rq)
        if bd.last or not self.commits:
            self.commit_rqs(hctx)
        return BLK_STS_OK

    def commit_rqs(self, hctx):
        """The device sees what the driver has put before it."""
        self = hctx.queue.queuedata
        for rq in self.waiting.pop(hctx, ()):
            snapshot = dict(self.unflushed) if req_op(rq) == REQ_OP_FLUSH else None
            cpu = self.random.choice(sorted(this().online))
            fn = self.ready.append if hctx.type == HCTX_TYPE_POLL else self.done
            this().loop.post(Context("irq", self.name, cpu), lambda fn=fn, done=(rq, snapshot): fn(done),
                             self.random.randrange(60_000))

    def poll(self, hctx):
        """Whoever polls finds what is done, if it is of that queue."""
        found = [done for done in self.ready if done[0].mq_hctx is hctx]
        for done in found:
            self.ready.remove(done)
            self.done(done)
        return len(found)

    def map_queues(self, set):
        for qmap, first, count in ((set.map[0], 0, set.nr_hw_queues - 1), (set.map[1], 0, 0),
                                   (set.map[2], set.nr_hw_queues - 1, 1)):
            qmap.queue_offset, qmap.nr_queues = first, count
            if count:
                blk_mq_cpumap.blk_mq_map_queues(qmap)
        return 0

    def check(self, rq):
        """Nothing may be asked for that the device could not do."""
        q, limits = rq.q, rq.q.limits
        op, start, sectors = req_op(rq), rq._sector, blk_rq_sectors(rq)
        if op in (REQ_OP_READ, REQ_OP_WRITE):
            assert 0 < sectors <= limits.max_sectors
            if limits.chunk_sectors:
                assert start // limits.chunk_sectors == (start + sectors - 1) // limits.chunk_sectors
            table = [scatterlist() for _ in range(limits.max_segments)]
            sg_init_table(table, len(table))
            count = blk_merge.blk_rq_map_sg(q, rq, table)
            assert count <= rq.nr_phys_segments <= limits.max_segments
            pieces, sg = [], table[0]
            while sg is not None:
                at = sg.page._addr + sg.offset
                pieces.append((at, at + sg.length))
                sg = sg_next(sg)
            assert len(pieces) == count
            assert sum(end - at for at, end in pieces) == rq._data_len
            for n, (at, end) in enumerate(pieces):
                assert end - at <= limits.max_segment_size
                assert at | limits.seg_boundary_mask == end - 1 | limits.seg_boundary_mask
                assert n == 0 or not at & limits.virt_boundary_mask
                assert n == count - 1 or not end & limits.virt_boundary_mask
        elif op == REQ_OP_DISCARD:
            assert sectors <= limits.max_discard_sectors
            assert len(bios_of(rq)) <= limits.max_discard_segments
        elif op == REQ_OP_WRITE_ZEROES:
            assert sectors <= limits.max_write_zeroes_sectors

    def done(self, of):
        """The device has done a request: data have moved. Its interrupt, or who polls, says so."""
        rq, snapshot = of
        op = req_op(rq)
        at = rq._sector * 512
        if op == REQ_OP_FLUSH:
            for sector, content in snapshot.items():
                if self.unflushed.get(sector) is content:  # otherwise it is newer, or already there
                    self.durable[sector * 512:sector * 512 + 512] = content
                    del self.unflushed[sector]
        elif op in (REQ_OP_DISCARD, REQ_OP_WRITE_ZEROES):
            for bio in bios_of(rq):
                self.store(bio.bi_iter.bi_sector * 512, bytes(bio_sectors(bio) * 512), True)
        else:
            for bv in rq_for_each_segment(rq):
                if op == REQ_OP_WRITE:
                    through = not self.cache or bool(rq.cmd_flags & REQ_FUA)
                    self.store(at, bv.bv_page.read(bv.bv_offset, bv.bv_len), through)
                else:
                    bv.bv_page.write(bv.bv_offset, bytes(self.bytes[at:at + bv.bv_len]))
                at += bv.bv_len
        for tags in self.set.tags:
            for ws in tags.bitmap_tags.ws if tags is not None else ():
                for waiter in ws.wait.head:
                    if isinstance(waiter.private, Context) and self.random.random() < 0.3:
                        waiter.private.cpu = self.random.choice(sorted(this().online))
        self.inflight[rq.mq_hctx].discard(rq)
        blk_mq_rq_to_pdu(rq, Token).begun = False
        blk_mq.blk_mq_complete_request(rq)

    def store(self, at, content, through):
        self.bytes[at:at + len(content)] = content
        if through:
            self.durable[at:at + len(content)] = content
        for sector in range(at // 512, (at + len(content)) // 512):
            if through:
                self.unflushed.pop(sector, None)
            else:
                self.unflushed[sector] = bytes(self.bytes[sector * 512:sector * 512 + 512])

    def timeout(self, rq, reserved):
        self = rq.q.queuedata
        told = "nobody polls for it" if rq in [done[0] for done in self.ready] else "the disk was not told to begin"
        raise AssertionError(f"{rq} takes longer than this disk ever needs: {told}")

    def complete(self, rq):
        """The core says: finish it. It is ended in parts."""
        self = rq.q.queuedata
        if req_op(rq) in (REQ_OP_READ, REQ_OP_WRITE):
            while rq._data_len > 512 and self.random.random() < 0.5:
                part = 512 * self.random.randrange(1, rq._data_len // 512)
                assert blk_core.blk_update_request(rq, BLK_STS_OK, part)
                assert rq.nr_phys_segments <= rq.q.limits.max_segments
                assert sum(len(list(bio_for_each_segment(bio))) for bio in bios_of(rq)) > 0
        blk_mq.blk_mq_end_request(rq, BLK_STS_OK)
