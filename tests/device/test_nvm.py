"""I/O commands: blocks are read, written, zeroed and forgotten; the cache loses what was not flushed."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.device.namespace import Namespace
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_SC_DNR, nvme_data_ptr
from blkmodel.services.memory.slab import kcalloc
from tests.device.host import Host, pages, transfer

read, write = nvme.nvme_cmd_read, nvme.nvme_cmd_write


def flush(nsid=1):
    return nvme.nvme_common_command(opcode=nvme.nvme_cmd_flush, nsid=nsid)


def zeroes(slba, count, **fields):
    return nvme.nvme_write_zeroes_cmd(opcode=nvme.nvme_cmd_write_zeroes, nsid=1, slba=slba, length=count - 1, **fields)


def discard(ranges, attributes=nvme.NVME_DSMGMT_AD):
    array = kcalloc(len(ranges), nvme.nvme_dsm_range, 0)
    for each, (slba, count) in zip(array, ranges, strict=True):
        each.slba, each.nlb = slba, count
    return nvme.nvme_dsm_cmd(opcode=nvme.nvme_cmd_dsm, nsid=1, nr=len(ranges) - 1, attributes=attributes,
                             dptr=nvme_data_ptr(array._addr))


class Disks(Host):
    """A host with an I/O queue, two pages side by side, and two namespaces of 64 blocks."""

    def __init__(self):
        super().__init__(namespaces={1: Namespace(64), 2: Namespace(64, 12)})
        self.io = self.queue(1, vector=1)
        self.page = pages(2)


@pytest.fixture
def host():
    return Disks()


def test_blocks_keep_what_is_written(host):
    host.page.write(0, b"abcd" * 1024)
    assert host.code(transfer(write, 3, 8, host.page._addr), host.io) == 0
    host.page.write(0, bytes(4096))
    assert host.code(transfer(read, 4, 2, host.page._addr), host.io) == 0
    assert host.page.read(0, 1100) == b"abcd" * 256 + bytes(76)


def test_blocks_of_a_page(host):
    host.page.write(0, b"z" * 4096)
    command = transfer(write, 63, 1, host.page._addr)
    command.nsid = 2
    assert host.code(command, host.io) == 0
    assert host.controller.namespaces[2].read(63 * 4096, 4096) == b"z" * 4096
    assert host.controller.namespaces[1].read(0, 32768) == bytes(32768)


@pytest.mark.parametrize("opcode", [read, write])
@pytest.mark.parametrize(("slba", "count"), [(64, 1), (63, 2), (1 << 63, 1), ((1 << 64) - 1, 1)])
def test_beyond_the_end(host, opcode, slba, count):
    assert host.code(transfer(opcode, slba, count, host.page._addr), host.io) == nvme.NVME_SC_LBA_RANGE | NVME_SC_DNR


def test_beyond_the_end_without_data(host):
    for command in (zeroes(63, 2), discard([(0, 1), (64, 1)])):
        assert host.code(command, host.io) == nvme.NVME_SC_LBA_RANGE | NVME_SC_DNR


@pytest.mark.parametrize(("nsid", "code"), [(0, nvme.NVME_SC_INVALID_NS), (3, nvme.NVME_SC_INVALID_FIELD),
                                            (257, nvme.NVME_SC_INVALID_NS), (0xFFFFFFFF, nvme.NVME_SC_INVALID_NS)])
def test_no_such_namespace(host, nsid, code):
    for command in (transfer(read, 0, 1, host.page._addr), zeroes(0, 1), discard([(0, 1)])):
        command.nsid = nsid
        assert host.code(command, host.io) == code | NVME_SC_DNR
    if nsid != 0xFFFFFFFF:
        assert host.code(flush(nsid), host.io) == code | NVME_SC_DNR


def test_too_much_at_once():
    host = Host(mdts=1, namespaces={1: Namespace(1024)})
    queue = host.queue(1)
    place = pages(4)
    assert host.code(transfer(read, 0, 16, place._addr, place._addr + 4096), queue) == 0
    assert host.code(transfer(read, 0, 17, place._addr, place._addr + 4096), queue) == (
        nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR)


def test_zeroes(host):
    host.page.write(0, b"1" * 4096)
    host.code(transfer(write, 0, 8, host.page._addr), host.io)
    assert host.code(zeroes(2, 3), host.io) == 0
    assert host.controller.namespaces[1].read(0, 4096) == b"1" * 1024 + bytes(1536) + b"1" * 1536


def test_what_is_discarded_is_zeros(host):
    host.page.write(0, b"1" * 4096)
    host.code(transfer(write, 0, 8, host.page._addr), host.io)
    assert host.code(discard([(1, 1), (6, 2), (3, 0)]), host.io) == 0
    assert host.controller.namespaces[1].read(0, 4096) == (
        b"1" * 512 + bytes(512) + b"1" * 2048 + bytes(1024))
    assert host.code(discard([(0, 8)], attributes=nvme.NVME_DSMGMT_IDR), host.io) == 0
    assert host.controller.namespaces[1].read(0, 512) == b"1" * 512


def test_other_commands_and_pairs_are_refused(host):
    assert host.code(transfer(0x77, 0, 1, host.page._addr), host.io) == nvme.NVME_SC_INVALID_OPCODE | NVME_SC_DNR
    assert host.code(transfer(read, 0, 1, host.page._addr, flags=1), host.io) == (
        nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR)


def test_what_is_not_flushed_is_lost(host):
    namespace = host.controller.namespaces[1]
    for slba, letter in enumerate(b"abc"):
        host.page.write(0, bytes([letter]) * 512)
        control = nvme.NVME_RW_FUA if letter == ord("c") else 0
        host.code(transfer(write, 8 * slba, 1, host.page._addr, control=control), host.io)
        if letter == ord("a"):
            assert host.code(flush(), host.io) == 0
    namespace.lose_power()
    assert namespace.read(0, 1) + namespace.read(4096, 1) + namespace.read(8192, 1) == b"a" + b"\0" + b"c"


def test_flushing_all_namespaces(host):
    for nsid in (1, 2):
        host.controller.namespaces[nsid].write(0, b"x", through=False)
    assert host.code(flush(0xFFFFFFFF), host.io) == 0
    for nsid in (1, 2):
        host.controller.namespaces[nsid].lose_power()
        assert host.controller.namespaces[nsid].read(0, 1) == b"x"


def test_without_a_cache_all_lasts():
    host = Host(write_cache=False)
    queue = host.queue(1)
    page = pages(1)
    page.write(0, b"x" * 512)
    host.code(transfer(write, 0, 1, page._addr), queue)
    host.controller.unplug()
    assert host.controller.namespaces[1].read(0, 1) == b"x"


moves = st.lists(st.tuples(st.sampled_from(["write", "through", "zero", "flush", "lose"]), st.integers(0, 20000),
                           st.integers(1, 9000)), max_size=20)


@settings(max_examples=100)
@given(moves)
def test_a_namespace_is_its_bytes(steps):
    """Any writes, flushes and losses of power, against two plain strings of bytes."""
    namespace = Namespace(64)
    kept, seen = bytearray(32768), bytearray(32768)
    cached = [False] * 8  # a piece of 4096 bytes is written back whole
    for number, (what, offset, length) in enumerate(steps):
        data = bytes([number + 1]) * length if what != "zero" else bytes(length)
        if what == "flush":
            namespace.flush()
            kept[:] = seen
            cached = [False] * 8
        elif what == "lose":
            namespace.lose_power()
            seen[:] = kept
            cached = [False] * 8
        else:
            (namespace.zero(offset, length, through=False) if what == "zero" else
             namespace.write(offset, data, through=what == "through"))
            seen[offset:offset + length] = data
            for piece in range(offset // 4096, (offset + length - 1) // 4096 + 1):
                if what == "through":
                    kept[piece * 4096:piece * 4096 + 4096] = seen[piece * 4096:piece * 4096 + 4096]
                cached[piece] = what != "through"
        assert namespace.read(0, 32768) == bytes(seen)
        assert [piece in namespace.cached for piece in range(8)] == cached
