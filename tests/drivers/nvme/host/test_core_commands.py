"""What command a request becomes, for every sort of request; and Discard's ranges, which are in memory of their own."""

import pytest

from blkmodel import KernelError, scenario
from blkmodel.block import blk_core
from blkmodel.device.faults import FAIL, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host import core
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_types import (BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE, REQ_FAILFAST_DEV, REQ_FUA,
    REQ_OP_DISCARD, REQ_OP_READ, REQ_OP_SECURE_ERASE, REQ_OP_WRITE, REQ_RAHEAD)
from blkmodel.sim import this, wire
from blkmodel.sim.structure import NULL, sizeof
from tests.drivers.nvme.host.up import commands, device_of, up, watched

PAGE = 4096
SHORT, EXTREME = 2, 5  # how long data will live


def namespace_of(dev):
    return next(iter(dev.ctrl.namespaces))


def request(dev, flags, sector=0, length=PAGE):
    """A request of the first namespace, as the block layer would have filled it in."""
    rq = dev.tagset.tags[0].static_rqs[0]
    rq.q = namespace_of(dev).queue
    rq.cmd_flags, rq._sector, rq._data_len, rq.tag = flags, sector, length, 7
    return rq


def command_for(dev, flags, **more):
    status, command = core.nvme_setup_cmd(namespace_of(dev), request(dev, flags, **more))
    assert status == BLK_STS_OK
    return command.common


@pytest.mark.parametrize(("flags", "opcode", "control", "dsmgmt"), [
    (REQ_OP_READ, nvme.nvme_cmd_read, 0, 0), (REQ_OP_WRITE, nvme.nvme_cmd_write, 0, 0),
    (REQ_OP_WRITE | REQ_FUA, nvme.nvme_cmd_write, nvme.NVME_RW_FUA, 0),
    (REQ_OP_READ | REQ_FAILFAST_DEV, nvme.nvme_cmd_read, nvme.NVME_RW_LR, 0),
    (REQ_OP_READ | REQ_RAHEAD, nvme.nvme_cmd_read, nvme.NVME_RW_LR, nvme.NVME_RW_DSM_FREQ_PREFETCH)])
def test_reads_and_writes(flags, opcode, control, dsmgmt):
    command = command_for(up(), flags, sector=24, length=2 * PAGE)
    assert (command.opcode, command.nsid, command.command_id) == (opcode, 1, 7)
    assert (command.slba, command.length) == (24, 15)
    assert (command.control, command.dsmgmt) == (control, dsmgmt)


def test_blocks_are_the_namespaces():
    command = command_for(up(namespaces={5: Namespace(512, shift=12)}), REQ_OP_READ, sector=24, length=2 * PAGE)
    assert (command.nsid, command.slba, command.length) == (5, 3, 1)


def test_what_is_no_operation_of_nvme():
    dev = up()
    assert core.nvme_setup_cmd(namespace_of(dev), request(dev, REQ_OP_SECURE_ERASE)) == (BLK_STS_IOERR, None)
    assert this().log[-1].endswith("is not one of NVMe")


def test_a_retry_keeps_its_count():
    """A request is counted from its first try, which it remembers."""
    dev = up()
    rq = request(dev, REQ_OP_READ)
    core.nvme_setup_cmd(namespace_of(dev), rq)
    rq._pdu.req.retries, rq._pdu.req.flags = 3, 1
    core.nvme_setup_cmd(namespace_of(dev), rq)
    assert (rq._pdu.req.retries, rq._pdu.req.flags) == (3, 1)


# Flush, and writes that go through the cache.


@pytest.mark.parametrize("write_cache", [True, False])
def test_a_flush_reaches_a_cache(write_cache):
    dev = up(write_cache=write_cache)
    device = device_of(dev).namespaces[1]
    scenario.io("nvme0n1", "write", 0, PAGE)
    assert bool(device.cached) == write_cache
    with watched("command") as seen:
        scenario.flush("nvme0n1")
    assert [(each.opcode, each.nsid) for each in commands(seen)] == [(nvme.nvme_cmd_flush, 1)] * write_cache
    assert not device.cached
    with watched("command") as seen:
        scenario.io("nvme0n1", "write", PAGE, PAGE, flags=["dsync"])
    assert not device.cached
    assert [each.opcode for each in commands(seen)] == [nvme.nvme_cmd_write] + [nvme.nvme_cmd_flush] * write_cache
    assert bool(commands(seen)[0].control & nvme.NVME_RW_FUA) == write_cache


# Discard, and filling with zeroes.


@pytest.mark.parametrize("dsm", [True, False])
@pytest.mark.parametrize("write_zeroes", [True, False])
@pytest.mark.parametrize("write_cache", [True, False])
def test_commands_that_a_controller_does_not_have(dsm, write_zeroes, write_cache):
    """Without Dataset Management a discard is refused; without Write Zeroes pages of zeroes are written; without a
    cache no flush is sent."""
    dev = up(dsm=dsm, write_zeroes=write_zeroes, write_cache=write_cache, dbbuf=False)
    scenario.io("nvme0n1", "write", 0, PAGE)
    with watched("command") as seen:
        if dsm:
            scenario.discard("nvme0n1", 0, PAGE)
        else:
            with pytest.raises(KernelError) as refused:
                scenario.discard("nvme0n1", 0, PAGE)
            assert refused.value.name == "EOPNOTSUPP"
        scenario.zero_out("nvme0n1", 0, PAGE)
        scenario.flush("nvme0n1")
    assert [each.opcode for each in commands(seen)] == [
        *[nvme.nvme_cmd_dsm] * dsm, nvme.nvme_cmd_write_zeroes if write_zeroes else nvme.nvme_cmd_write,
        *[nvme.nvme_cmd_flush] * write_cache]
    assert (dev.dbbuf_dbs, scenario.io("nvme0n1", "read", 0, PAGE)) == (NULL, bytes(PAGE))
    limits = namespace_of(dev).queue.limits
    assert [limits.max_discard_sectors > 0, limits.max_write_zeroes_sectors > 0] == [dsm, write_zeroes]
    assert scenario.queue_file("nvme0n1", "write_cache") == ("write back" if write_cache else "write through")


def test_a_command_that_the_host_must_not_send_is_refused():
    dev = up(dsm=False, write_zeroes=False)
    for opcode in (nvme.nvme_cmd_dsm, nvme.nvme_cmd_write_zeroes):
        command = nvme.nvme_command()
        command.common.opcode, command.common.nsid = opcode, 1
        assert core.nvme_submit_sync_cmd(namespace_of(dev).queue, command, NULL, 0) == (
            nvme.NVME_SC_INVALID_OPCODE | nvme.NVME_SC_DNR)


def content_of(kernel, command):
    """The ranges that a Discard has in memory."""
    data = kernel.memory.read(command.dptr.prp1, (command.nr + 1) * 16)
    found = []
    for at in range(0, len(data), 16):
        each = nvme.nvme_dsm_range()
        wire.unpack(each, data[at:at + 16])
        found.append((each.slba, each.nlb))
    return found


class Ranges:
    """The ranges of each Discard that comes, read when it does."""

    def __init__(self):
        self.seen = []
        this().observer = self

    def __call__(self, kind, **told):
        if kind == "command" and told["queue"] and told["command"].opcode == nvme.nvme_cmd_dsm:
            command = wire.view(nvme.nvme_dsm_cmd, told["command"])
            self.seen.append((command.nsid, command.attributes, content_of(this(), command)))


@pytest.mark.parametrize("shift", [9, 12])
def test_a_discard_has_its_ranges_in_memory(shift):
    dev = up(namespaces={1: Namespace(65536 >> shift - 9, shift=shift)})
    kernel = this()
    scenario.io("nvme0n1", "write", 0, 4 * PAGE)
    before = kernel.memory.totals()
    ranges = Ranges()
    scenario.discard("nvme0n1", PAGE, 2 * PAGE)
    assert ranges.seen == [(1, nvme.NVME_DSMGMT_AD, [(PAGE >> shift, 2 * PAGE >> shift)])]
    assert kernel.memory.totals() == before
    held = device_of(dev).namespaces[1].read(0, 4 * PAGE)
    assert held[PAGE:3 * PAGE] == bytes(2 * PAGE)
    assert held[:PAGE] + held[3 * PAGE:] == (scenario.sector_numbers(0, PAGE)
                                             + scenario.sector_numbers(3 * PAGE, PAGE))


def test_without_memory_a_discard_uses_the_controllers_own_page(monkeypatch):
    """One at a time. The others wait."""
    dev = up(2, queue_pairs=2)
    monkeypatch.setattr(core, "kcalloc", lambda n, kind, gfp: None)
    ranges = Ranges()
    scenario.io("nvme0n1", "write", 0, 4 * PAGE)
    scenario.discard("nvme0n1", 0, 2 * PAGE)
    assert ranges.seen == [(1, nvme.NVME_DSMGMT_AD, [(0, 16)])]
    assert device_of(dev).namespaces[1].read(0, 2 * PAGE) == bytes(2 * PAGE)
    assert dev.ctrl.discard_page_busy == 0
    dev.ctrl.discard_page_busy = 1
    assert core.nvme_setup_discard(namespace_of(dev), request(dev, REQ_OP_DISCARD)) == (BLK_STS_RESOURCE, None)


def test_a_discard_that_fails_gives_its_memory_back():
    dev = up()
    kernel = this()
    device_of(dev).faults.append(Fault(FAIL, opcode=nvme.nvme_cmd_dsm, status=nvme.NVME_SC_LBA_RANGE
                                       | nvme.NVME_SC_DNR))
    before = kernel.memory.totals()
    scenario.io("nvme0n1", "write", 0, PAGE)
    with pytest.raises(Exception, match="EREMOTEIO"):
        scenario.discard("nvme0n1", 0, PAGE)
    assert kernel.memory.totals() == before


@pytest.mark.parametrize("own_page", [False, True])
def test_a_discard_of_more_bios_than_it_was_counted(monkeypatch, own_page):
    dev = up()
    kernel = this()
    if own_page:
        monkeypatch.setattr(core, "kcalloc", lambda n, kind, gfp: None)
    rq = request(dev, REQ_OP_DISCARD)
    rq.bio, rq.nr_phys_segments = None, 1
    before = kernel.memory.totals()
    assert core.nvme_setup_discard(namespace_of(dev), rq) == (BLK_STS_IOERR, None)
    assert kernel.memory.totals() == before
    assert dev.ctrl.discard_page_busy == 0


def test_a_range_of_a_discard_is_as_large_as_a_page_in_all():
    """Some controllers read all 256 ranges."""
    assert sizeof(nvme.nvme_dsm_range) * nvme.NVME_DSM_MAX_RANGES == PAGE


def test_zeroes_need_no_data():
    dev = up()
    scenario.io("nvme0n1", "write", 0, 2 * PAGE)
    with watched("command") as seen:
        scenario.zero_out("nvme0n1", 0, PAGE)
    [command] = commands(seen)
    assert command.opcode == nvme.nvme_cmd_write_zeroes
    command = wire.view(nvme.nvme_write_zeroes_cmd, command)
    assert (command.nsid, command.slba, command.length, command.control) == (1, 0, 7, 0)
    assert device_of(dev).namespaces[1].read(0, 2 * PAGE) == bytes(PAGE) + scenario.sector_numbers(PAGE, PAGE)


def test_a_queue_that_ends_takes_no_retry():
    dev = up()
    ns = namespace_of(dev)
    rq = request(dev, REQ_OP_READ)
    ended = []
    rq._pdu.req.status, rq._pdu.req.retries = nvme.NVME_SC_INTERNAL, 0
    blk_core.blk_set_queue_dying(ns.queue)
    end = core.blk_mq.blk_mq_end_request
    core.blk_mq.blk_mq_end_request = lambda rq, error: ended.append(error)
    try:
        core.nvme_complete_rq(rq)
    finally:
        core.blk_mq.blk_mq_end_request = end
    assert ended == [BLK_STS_IOERR]


