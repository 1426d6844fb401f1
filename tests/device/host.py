"""A host for the controller alone: rings and buffers in the model's memory, and no driver."""

import blkmodel
from blkmodel.device.controller import Controller
from blkmodel.device.nvme import plug_in
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import nvme_command, nvme_completion, nvme_data_ptr
from blkmodel.services.devices.io import lo_hi_readq, lo_hi_writeq, readl, writel
from blkmodel.services.devices.pci import pci_enable_device_mem, pci_set_master
from blkmodel.services.memory.dma_mapping import dma_alloc_coherent
from blkmodel.services.memory.mm import alloc_pages_exact_nid
from blkmodel.sim.interrupts import interrupts

ENABLED = nvme.NVME_CC_ENABLE | nvme.NVME_CC_IOSQES | nvme.NVME_CC_IOCQES


class Queue:
    """A queue pair as the host knows it."""

    def __init__(self, host, qid, depth, cq_depth=None):
        self.host = host
        self.qid = qid
        self.depth = depth
        self.cq_depth = cq_depth or depth
        self.sq, self.sq_addr = dma_alloc_coherent(host.pdev.dev, depth, nvme_command, 0)
        self.cq, self.cq_addr = dma_alloc_coherent(host.pdev.dev, self.cq_depth, nvme_completion, 0)
        self.tail = self.head = 0
        self.phase = 1

    def put(self, command):
        """Write a command, without telling the controller."""
        self.sq[self.tail] = nvme_command(command)
        self.tail = (self.tail + 1) % self.depth

    def ring(self):
        self.host.doorbell(self.qid, 0, self.tail)

    def take(self):
        """The next completion, None where there is none."""
        entry = self.cq[self.head]
        if entry is None or entry.status & 1 != self.phase:
            return None
        self.head += 1
        if self.head == self.cq_depth:
            self.head = 0
            self.phase ^= 1
        return entry

    def take_all(self, ring=True):
        found = []
        while (entry := self.take()) is not None:
            found.append(entry)
        if found and ring:
            self.host.doorbell(self.qid, 1, self.head)
        return found


class Host:
    """A machine with one controller plugged in, and the admin queue enabled unless told otherwise."""

    def __init__(self, *, enable=True, depth=32, cpus=2, **controller):
        self.kernel = blkmodel.boot(cpus)
        self.controller = Controller(**controller)
        self.pdev = plug_in(self.controller)
        self.bar = self.pdev.resource[0][0]
        pci_enable_device_mem(self.pdev)
        pci_set_master(self.pdev)
        self.raised: list[int] = []
        for vector in range(max(self.controller.vectors, 1)):
            target = 0, 0x40 + vector
            self.controller.messages[vector] = target
            interrupts().connect(target, f"vector {vector}", lambda vector=vector: self.raised.append(vector))
        self.admin = Queue(self, 0, depth)
        self.next_id = 0
        if enable:
            self.enable()

    def read(self, register):
        return readl(self.bar + register)

    def write(self, register, value):
        writel(value, self.bar + register)

    def readq(self, register):
        return lo_hi_readq(self.bar + register)

    def enable(self, configuration=ENABLED):
        self.write(nvme.NVME_REG_AQA, self.admin.depth - 1 | self.admin.cq_depth - 1 << 16)
        lo_hi_writeq(self.admin.sq_addr, self.bar + nvme.NVME_REG_ASQ)
        lo_hi_writeq(self.admin.cq_addr, self.bar + nvme.NVME_REG_ACQ)
        self.write(nvme.NVME_REG_CC, configuration)

    @property
    def status(self):
        return self.read(nvme.NVME_REG_CSTS)

    def doorbell(self, qid, odd, value):
        writel(value, self.bar + nvme.NVME_REG_DBS + ((2 * qid + odd) * 4 << self.controller.stride))

    def run(self):
        self.kernel.loop.run_due()

    def do(self, command, queue=None):
        """Have one command executed; return its completion."""
        queue = queue or self.admin
        command.command_id = self.next_id = (self.next_id + 1) % 65536
        queue.put(command)
        queue.ring()
        self.run()
        found = queue.take_all()
        assert [entry.command_id for entry in found] == [command.command_id]
        return found[0]

    def code(self, command, queue=None):
        """The status of a command."""
        return self.do(command, queue).status >> 1

    def queue(self, qid, depth=16, cq_depth=None, vector=None, cqid=None):
        """Create a queue pair."""
        queue = Queue(self, qid, depth, cq_depth)
        flags = nvme.NVME_QUEUE_PHYS_CONTIG | (0 if vector is None else nvme.NVME_CQ_IRQ_ENABLED)
        if cqid is None:
            assert not self.code(nvme.nvme_create_cq(
                opcode=nvme.nvme_admin_create_cq, prp1=queue.cq_addr, cqid=qid, qsize=queue.cq_depth - 1,
                cq_flags=flags, irq_vector=vector or 0))
        assert not self.code(nvme.nvme_create_sq(
            opcode=nvme.nvme_admin_create_sq, prp1=queue.sq_addr, sqid=qid, qsize=depth - 1,
            sq_flags=nvme.NVME_QUEUE_PHYS_CONTIG, cqid=qid if cqid is None else cqid))
        return queue


def pages(count):
    """So many pages side by side."""
    return alloc_pages_exact_nid(-1, count * 4096, 0)


def transfer(opcode, slba, length, prp1, prp2=0, **fields):
    """A read or write of `length` blocks."""
    return nvme.nvme_rw_command(opcode=opcode, nsid=1, slba=slba, length=length - 1, dptr=nvme_data_ptr(prp1, prp2),
                                **fields)
