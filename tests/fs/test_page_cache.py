"""Reading and writing block devices through the page cache: what is read ahead, and what is written back when."""

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot, scenario
from blkmodel.errors import KernelError
from blkmodel.fs import block_dev
from blkmodel.include.linux.blkdev import READ
from blkmodel.services.files.file import O_RDONLY, filp_close, filp_open, new_sync_read
from blkmodel.services.files.uio import iov_iter, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.services.memory.mm import cache_pages, mem_map, put_page
from blkmodel.sim import this
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.trace import Command, record

SECTORS = 8192


@pytest.fixture
def nvme():
    boot(2)
    scenario.nvme_probe(sectors=SECTORS)
    scenario.io("nvme0n1", "write", 0, SECTORS * 512, page_runs=[SECTORS // 8])
    return "nvme0n1"


def reads_of(*reads):
    """Read parts of a disk, (page, pages) each, one after another from one open file. Returns the (page, pages) of the
    commands that each came to."""
    filp = filp_open("nvme0n1", O_RDONLY)
    found = []
    for page, pages in reads:
        buffer, at = map_user_buffer([pages]), iov_iter()
        iov_iter_init(at, READ, buffer, 0, pages * PAGE_SIZE)
        recording = record(this().task, "dio", new_sync_read, filp, at, page * PAGE_SIZE)
        assert buffer.read(0, pages * PAGE_SIZE) == scenario.sector_numbers(page * PAGE_SIZE, pages * PAGE_SIZE)
        unmap_user_buffer(buffer)
        found.append([(event.command.slba // 8, (event.command.length + 1) // 8)
                      for event in recording.of(Command) if event.queue])
    filp_close(filp)
    return found


@pytest.mark.parametrize(("pages", "read"), [
    (1, [(0, 4)]), (2, [(0, 4)]), (3, [(0, 8)]), (4, [(0, 8)]), (8, [(0, 16)]), (16, [(0, 32)])])
def test_what_begins_at_the_start_is_read_on(nvme, pages, read):
    assert reads_of((0, pages)) == [read]


def test_what_stands_alone_is_read_as_it_is(nvme):
    assert reads_of((256, 16), (100, 1), (50, 3)) == [[(256, 16)], [(100, 1)], [(50, 3)]]


def test_who_reads_on_is_read_further_ahead(nvme):
    """The window grows twofold, up to read_ahead_kb; each read that comes to its mark has the next one read."""
    assert reads_of(*((page, 1) for page in range(22))) == [
        [(0, 4)], [(4, 8)], [], [], [(12, 16)], *[[]] * 7, [(28, 32)], *[[]] * 9]


def test_no_reading_ahead(nvme):
    scenario.set_queue_file("nvme0n1", "read_ahead_kb", 0)
    assert reads_of((0, 2), (2, 1)) == [[(0, 1), (1, 1)], [(2, 1)]]


def test_as_much_as_was_recorded():
    boot(4)
    scenario.nvme_device("nvme0", partitions="mbr")
    scenario.nvme_probe("nvme0", opened=False)
    scenario.buffered("nvme0n1", "read", 0, 4096)
    assert scenario.cat("/sys/block/nvme0n1/stat").split()[:3] == ["2", "0", "40"]
    scenario.buffered("nvme0n1", "read", 1 << 20, 65536)
    assert scenario.cat("/sys/block/nvme0n1/stat").split()[:3] == ["3", "0", "168"]


def test_what_is_written_is_written_back_at_the_end(nvme):
    recording = record(scenario.buffered, nvme, "write", 4096, 3 * 4096, data=bytes(3 * 4096))
    assert [(event.command.opcode, event.command.slba, event.command.length + 1)
            for event in recording.of(Command) if event.queue] == [(1, 8, 24)]  # three bios, merged
    assert scenario.io(nvme, "read", 0, 5 * 4096)[4096:-4096] == bytes(3 * 4096)


def test_of_a_block_that_is_written_in_part_the_rest_is_read(nvme):
    recording = record(scenario.buffered, nvme, "write", 100, 5000, data=bytes(5000))
    assert [event.command.opcode for event in recording.of(Command) if event.queue] == [2, 2, 1]
    before = scenario.sector_numbers(0, 8192)
    assert scenario.io(nvme, "read", 0, 8192) == before[:100] + bytes(5000) + before[5100:]


def test_what_cannot_be_read():
    boot(2)
    scenario.nvme_device("nvme0", bad_sectors_read="16", bad_sectors_write="80")
    scenario.nvme_probe("nvme0")
    with pytest.raises(KernelError, match="EIO"):
        scenario.buffered("nvme0n1", "read", 8192, 4096)
    with pytest.raises(KernelError, match="EIO"):
        scenario.buffered("nvme0n1", "write", 8192 + 512, 512)
    assert len(scenario.buffered("nvme0n1", "read", 0, 12288)) == 8192  # up to there
    scenario.buffered("nvme0n1", "write", 80 * 512, 4096)  # who does not ask hears nothing of it
    assert "lost async page write" in this().log[-1]


@pytest.mark.parametrize("runs", [[1, 1, 1, 1], [4], [2, 1, 1], [1, 3]])
def test_pages_lie_as_they_are_asked_to(nvme, runs):
    pages = len(mem_map().runs)
    spare = cache_pages(runs)
    addresses = [page._addr for page in reversed(spare)]
    begun = [0, *(i for i in range(1, 4) if addresses[i] != addresses[i - 1] + PAGE_SIZE), 4]
    assert [b - a for a, b in pairwise(begun)] == runs
    while spare:
        put_page(spare.pop())
    assert len(mem_map().runs) == pages
    scenario.buffered(nvme, "read", 0, 4096, page_runs=runs)
    assert mem_map().spare == []
    assert len(mem_map().runs) == pages


OPS = st.lists(st.tuples(st.sampled_from(("buffered", "io")), st.sampled_from(("read", "write")), st.integers(0, 90000),
                         st.integers(1, 40000)), max_size=12)


@settings(max_examples=25, deadline=None)
@given(OPS, st.sampled_from((160, 165, 172)), st.sampled_from(("mq-deadline", "none")))
def test_a_disk_is_its_bytes_whichever_way(ops, sectors, scheduler):
    boot(2)
    scenario.nvme_probe(sectors=sectors)
    scenario.set_scheduler("nvme0n1", scheduler)
    content, size = bytearray(sectors * 512), sectors * 512
    for i, (how, op, offset, length) in enumerate(ops):
        if how == "io":
            offset, length = offset // 512 * 512, max(length // 512 * 512, 512)
        if offset >= size:
            continue
        data = bytes((i + 1) * each % 251 for each in range(length))
        more = {"data": data} if op == "write" else {}
        moved = getattr(scenario, how)("nvme0n1", op, offset, length, **more)
        if op == "write":
            content[offset:min(offset + length, size)] = data[:size - offset]
        assert moved == content[offset:offset + length]
    assert scenario.io("nvme0n1", "read", 0, size) == content
    assert not sum(bdev.bd_inode.i_mapping.nrpages for bdev in block_dev.variables().all_bdevs)
