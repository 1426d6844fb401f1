"""How a request's data is described to the controller, and that it moves as it is to, whatever lies where in memory."""

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

import blkmodel
from blkmodel import scenario
from blkmodel.device.namespace import Namespace
from blkmodel.drivers.nvme.host import pci
from blkmodel.include.linux import nvme
from blkmodel.include.linux.blk_types import BLK_STS_IOERR, BLK_STS_OK, BLK_STS_RESOURCE
from blkmodel.services.memory.dma_mapping import DMA_FROM_DEVICE, DMA_TO_DEVICE, dma_map_sg_attrs
from blkmodel.services.memory.mm import alloc_page
from blkmodel.services.memory.scatterlist import scatterlist, sg_init_table
from blkmodel.services.memory.slab import GFP_KERNEL
from blkmodel.sim import this
from blkmodel.sim.structure import Array, sizeof
from tests.drivers.nvme.host.up import commands, device_of, probe, up, watched

KIB, PAGE = 1024, 4096
DATA, SEGMENT, LAST = 0x00, 0x20, 0x30  # types of descriptors, as they lie in memory


def command_of(op, length, page_runs, offset=0, disk="nvme0n1"):
    """Do one I/O and return its command."""
    with watched("command") as seen:
        scenario.io(disk, op, offset, length, page_runs=page_runs)
    [command] = commands(seen)
    return command


def held_by(dev, length):
    """What the first bytes of the first namespace are."""
    return device_of(dev).namespaces[1].read(0, length)


def long_requests(**controller):
    """A controller that takes any length, on a queue that makes requests as long as the driver lets it."""
    dev = up(**{"sgl": False, "mdts": 0, **controller})
    scenario.set_queue_file("nvme0n1", "max_sectors_kb", pci.NVME_MAX_KB_SZ)
    return dev


@pytest.mark.parametrize(("length", "prps"), [(512, 1), (PAGE, 1), (PAGE + 512, 2), (2 * PAGE, 2)])
def test_up_to_two_pages_are_in_the_command(length, prps):
    up()
    command = command_of("read", length, [2])
    assert command.flags == 0
    assert command.dptr.prp1 % PAGE == 0
    assert command.dptr.prp2 == (command.dptr.prp1 + PAGE if prps == 2 else 0)
    assert (command.nsid, command.slba, command.length) == (1, 0, length // 512 - 1)


def test_two_pages_apart_are_in_the_command_too():
    """In two segments. No list is needed."""
    up()
    command = command_of("write", 2 * PAGE, [1, 1])
    assert command.flags == 0
    assert command.dptr.prp1 != command.dptr.prp2
    assert command.dptr.prp1 % PAGE == command.dptr.prp2 % PAGE == 0
    assert abs(command.dptr.prp1 - command.dptr.prp2) != PAGE


def test_one_large_piece_is_a_descriptor():
    up()
    command = command_of("read", 64 * KIB, [16])
    assert command.flags == nvme.NVME_CMD_SGL_METABUF
    assert (command.dptr.sgl.type, command.dptr.sgl.length) == (DATA, 64 * KIB)
    assert command.dptr.sgl.addr % PAGE == 0


@pytest.mark.parametrize(("params", "controller"), [({"sgl_threshold": 0}, {}), ({}, {"sgl": False})])
def test_without_descriptors_it_is_a_list_of_pages(monkeypatch, params, controller):
    lists = []
    up(params=params, **controller)
    monkeypatch.setattr(pci, "nvme_free_prps", lambda dev, req: None)
    monkeypatch.setattr(pci, "dma_pool_free", lambda pool, block, addr: lists.append(list(block)))
    command = command_of("read", 64 * KIB, [16])
    assert command.flags == 0
    [prps] = lists
    first = command.dptr.prp1
    assert prps[:15] == [first + PAGE * i for i in range(1, 16)]


@pytest.mark.parametrize(("pages", "each", "descriptors"), [
    (16, 1, False), (64, 4, False), (64, 7, False), (64, 8, True), (128, 16, True)])
def test_descriptors_are_for_pieces_that_are_large_on_average(pages, each, descriptors):
    """32 KiB is large."""
    up()
    runs = [each] * (pages // each) + ([pages % each] if pages % each else [])
    command = command_of("write", pages * PAGE, runs)
    assert bool(command.flags & nvme.NVME_CMD_SGL_METABUF) == descriptors
    if descriptors:
        assert command.dptr.sgl.type == LAST
        assert command.dptr.sgl.length == sizeof(nvme.nvme_sgl_desc) * len(runs)


class Lists:
    """The blocks that come out of the pools for lists, in order: (pool, block, address)."""

    def __init__(self, monkeypatch, fail_at=None):
        self.taken: list[tuple] = []
        self.given_back: list[tuple] = []
        self.failed = False
        alloc, free = pci.dma_pool_alloc, pci.dma_pool_free

        def dma_pool_alloc(pool, gfp, ctype):
            if fail_at == len(self.taken) and not self.failed:
                self.failed = True
                return None, 0
            block, addr = alloc(pool, gfp, ctype)
            self.taken.append((pool, block, addr))
            return block, addr

        def dma_pool_free(pool, block, addr):
            self.given_back.append((pool, block, addr))
            free(pool, block, addr)
        monkeypatch.setattr(pci, "dma_pool_alloc", dma_pool_alloc)
        monkeypatch.setattr(pci, "dma_pool_free", dma_pool_free)

    def balanced(self):
        def key(each):
            return each[2]
        return sorted(self.taken, key=key) == sorted(self.given_back, key=key)


@pytest.mark.parametrize(("pages", "small"), [(3, True), (33, True), (34, False), (128, False)])
def test_a_list_is_in_a_small_block_or_a_page(monkeypatch, pages, small):
    """Up to 32 addresses, beside the first, fit into 256 bytes."""
    lists = Lists(monkeypatch)
    dev = up(sgl=False)
    command = command_of("read", pages * PAGE, [1] * pages if pages <= 33 else [2] * (pages // 2))
    [(pool, block, addr)] = lists.taken
    assert pool is (dev.prp_small_pool if small else dev.prp_page_pool)
    assert command.dptr.prp2 == addr
    used = block[:pages - 1]
    assert len(set(used)) == pages - 1
    assert all(each and each % PAGE == 0 for each in used)
    assert lists.balanced()


@pytest.mark.parametrize(("pages", "lists_"), [(513, 1), (514, 2), (1000, 2), (1024, 2)])
def test_lists_of_pages_are_chained(monkeypatch, pages, lists_):
    """A page holds 512 addresses; the last is that of the next page, where there is one."""
    lists = Lists(monkeypatch)
    dev = long_requests()
    command = command_of("write", pages * PAGE, [16] * -(-pages // 16))
    blocks = [block for _, block, _ in lists.taken]
    assert [pool for pool, _, _ in lists.taken] == [dev.prp_page_pool] * lists_
    assert command.dptr.prp2 == lists.taken[0][2]
    for (_, block, _), (_, _, following) in pairwise(lists.taken):
        assert block[511] == following
    addresses = [*(each for block in blocks[:-1] for each in block[:511]), *blocks[-1]][:pages - 1]
    assert len({command.dptr.prp1, *addresses}) == pages
    assert lists.balanced()
    assert held_by(dev, pages * PAGE) == scenario.sector_numbers(0, pages * PAGE)


@pytest.mark.parametrize(("fails", "sgl"), [(0, False), (1, False), (0, True)])
def test_without_memory_for_a_list_a_request_has_to_wait(monkeypatch, fails, sgl):
    """It is tried again later. What was mapped and allocated for it is given back meanwhile."""
    lists = Lists(monkeypatch, fail_at=fails)
    dev = long_requests(sgl=sgl)
    status = []
    map_data = pci.nvme_map_data

    def nvme_map_data(dev, req, command):
        status.append(map_data(dev, req, command))
        assert status[-1] == BLK_STS_OK or lists.balanced()
        return status[-1]
    monkeypatch.setattr(pci, "nvme_map_data", nvme_map_data)
    scenario.io("nvme0n1", "write", 0, 600 * PAGE, page_runs=[16] * 38)
    assert status == [BLK_STS_RESOURCE, BLK_STS_OK]
    assert held_by(dev, 600 * PAGE) == scenario.sector_numbers(0, 600 * PAGE)
    assert lists.balanced()


@pytest.mark.parametrize("runs", [[1, 1, 1], [3]])
def test_without_memory_for_pieces_a_request_has_to_wait(monkeypatch, runs):
    dev = up(sgl=False)
    alloc, left_to_fail = pci.mempool_alloc, [1]

    def mempool_alloc(pool, gfp):
        return alloc(pool, gfp) if not left_to_fail or not left_to_fail.pop() else None
    monkeypatch.setattr(pci, "mempool_alloc", mempool_alloc)
    scenario.io("nvme0n1", "write", 0, 3 * PAGE, page_runs=runs)
    assert not left_to_fail
    assert held_by(dev, 3 * PAGE) == scenario.sector_numbers(0, 3 * PAGE)


def dev_and_request(dev, entries_):
    """A request of so many pieces of a page, as the driver describes it."""
    sgl = Array(scatterlist, [None] * entries_)
    sg_init_table(sgl, entries_)
    for i in range(entries_):
        sgl[i].page, sgl[i].length = alloc_page(GFP_KERNEL), PAGE
    dma_map_sg_attrs(dev.dev, sgl, entries_, 0, 0)
    req = dev.tagset.tags[0].static_rqs[0]
    req._pdu.sg, req._pdu._list, req._pdu.nents = sgl, [], entries_
    return req


@pytest.mark.parametrize(("pieces", "lengths"), [
    (2, [2]), (16, [16]), (17, [17]), (255, [255]), (256, [256]), (257, [256, 1]), (511, [256, 255]),
    (512, [256, 256, 1])])
def test_descriptors_are_chained(monkeypatch, pieces, lengths):
    """A page holds 256. Where the last one moves to another page, v5.4.120 says that page to be shorter by one than it
    is; no request has so many pieces."""
    lists = Lists(monkeypatch)
    dev = up()
    req = dev_and_request(dev, pieces)
    command = nvme.nvme_rw_command()
    assert pci.nvme_pci_setup_sgls(dev, req, command, pieces) == BLK_STS_OK
    pool = dev.prp_small_pool if pieces <= 16 else dev.prp_page_pool
    assert [taken for taken, _, _ in lists.taken] == [pool] * len(lengths)
    link, found = command.dptr.sgl, []
    for (_, block, addr), length in zip(lists.taken, lengths, strict=True):
        assert (link.addr, link.length, link.type) == (addr, length * 16, SEGMENT if length == 256 else LAST)
        link = block[255] if pieces > 16 else None
        found += [each for each in block if each is not None and each.type == DATA]
    assert [(each.addr, each.length) for each in found] == [(sg.dma_address, PAGE) for sg in req._pdu.sg]
    if pieces > 16:
        pci.nvme_free_sgls(dev, req)
        assert lists.balanced()


def test_pieces_that_pages_cannot_describe_fail():
    """Only the first may begin within a page, and only the last end in one."""
    dev = up(sgl=False)
    kernel = this()
    req = dev_and_request(dev, 3)
    req._data_len = 3 * PAGE
    req._pdu.sg[1].dma_length = PAGE - 512
    req._pdu.npages = -1
    assert pci.nvme_pci_setup_prps(dev, req, nvme.nvme_rw_command()) == BLK_STS_IOERR
    addresses = [f"{sg.page._addr:#018x}" for sg in req._pdu.sg]
    assert kernel.log[-4:] == [
        *(f"sg[{i}] phys_addr:{addr} offset:0 length:4096 dma_address:{addr} dma_length:{(4096, 3584, 4096)[i]}"
          for i, addr in enumerate(addresses)),
        f"WARNING: CPU: 0: Invalid SGL for payload:{3 * PAGE} nents:3"]


@settings(max_examples=25)
@given(st.data())
def test_what_is_written_is_read(data):
    """However it lies in memory, whatever the controller can."""
    kernel = blkmodel.boot(2)
    scenario.nvme_load(io_queue_depth=8, sgl_threshold=data.draw(st.sampled_from([0, 4096, 8192, 32768])))
    before = kernel.memory.totals()
    dev = probe(queue_pairs=2, vectors=3, sgl=data.draw(st.booleans()), mdts=data.draw(st.sampled_from([0, 3, 7])),
                namespaces={1: Namespace(8192)})
    expected = bytearray(8192 * 512)
    for _ in range(data.draw(st.integers(1, 4))):
        runs = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=40))
        sectors = data.draw(st.integers(1, sum(runs) * 8))
        first = data.draw(st.integers(0, 8192 - sectors))
        cpu = data.draw(st.integers(0, 1))
        there = slice(first * 512, (first + sectors) * 512)
        expected[there] = data.draw(st.binary(min_size=4, max_size=4)) * (sectors * 128)
        scenario.io("nvme0n1", "write", first * 512, sectors * 512, cpu=cpu, page_runs=runs,
                    data=bytes(expected[there]))
        assert scenario.io("nvme0n1", "read", first * 512, sectors * 512, cpu=1 - cpu,
                           page_runs=data.draw(st.permutations(runs))) == expected[there]
    assert held_by(dev, len(expected)) == expected
    scenario.nvme_remove()
    assert kernel.memory.totals() == before


@pytest.mark.parametrize(("size", "pages"), [(0, 1), (PAGE, 1), (510 * PAGE, 1), (511 * PAGE, 2), (4 << 20, 3)])
def test_how_many_pages_a_list_of_pages_takes(size, pages):
    """Each holds 511 and where the next one is; it is reckoned for a page more, as the first may begin within one."""
    dev = up()
    assert pci.nvme_npages(size, dev) == pages
    assert pci.nvme_pci_iod_alloc_size(dev, size, 127, False) == 8 * pages + 127 * sizeof(scatterlist)


@pytest.mark.parametrize(("segments", "pages"), [(1, 1), (256, 1), (257, 2), (513, 3)])
def test_how_many_pages_a_list_of_descriptors_takes(segments, pages):
    dev = up()
    assert pci.nvme_pci_npages_sgl(segments) == pages
    assert pci.nvme_pci_iod_alloc_size(dev, 0, segments, True) == 8 * pages + segments * sizeof(scatterlist)


@pytest.mark.parametrize("op", ["read", "write"])
def test_what_was_mapped_is_unmapped(monkeypatch, op):
    """As it was mapped: this list, of as many pieces, in this direction."""
    dev = up()
    mapped, unmapped = [], []
    real = pci.dma_map_sg_attrs

    def map_sg(of, sgl, nents, direction, attrs):
        mapped.append((of, sgl, nents, direction))
        return real(of, sgl, nents, direction, attrs)
    monkeypatch.setattr(pci, "dma_map_sg_attrs", map_sg)
    monkeypatch.setattr(pci, "dma_unmap_sg", lambda *of: unmapped.append(of))
    scenario.io("nvme0n1", op, 0, 64 * KIB, page_runs=[4] * 4)
    assert unmapped == mapped
    [(of, _, nents, direction)] = mapped
    assert (of, nents, direction) == (dev.dev, 4, DMA_FROM_DEVICE if op == "read" else DMA_TO_DEVICE)
