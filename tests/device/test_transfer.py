"""Where a command's data lies: any layout of pages moves the same bytes, and wrong ones are refused."""

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.device.transfer import PRP_OFFSET_INVALID, Refused, pieces
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import (NVME_SC_DNR, NVME_SC_INVALID_FIELD, NVME_SC_SGL_INVALID_DATA,
    NVME_SC_SGL_INVALID_LAST, NVME_SC_SGL_INVALID_TYPE, nvme_data_ptr, nvme_sgl_desc)
from blkmodel.services.memory.dma_mapping import dma_alloc_coherent
from blkmodel.services.memory.mm import __free_pages
from blkmodel.sim import this
from blkmodel.sim.memory import MemoryError_
from tests.device.host import Host, pages, transfer

PAGE = 4096
BLOCK = 512
DATA, SEGMENT, LAST = 0, nvme.NVME_SGL_FMT_SEG_DESC << 4, nvme.NVME_SGL_FMT_LAST_SEG_DESC << 4


def listed(host, entries, into=None, room=PAGE // 8, offset=0):
    """Write addresses into lists, each of which holds `room` and ends in the address of the next where more are to
    come; return the first one's address."""
    array, at = dma_alloc_coherent(host.pdev.dev, PAGE // 8, "u64", 0)
    first = room - offset
    if len(entries) <= first:
        array[offset:offset + len(entries)] = entries
    else:
        array[offset:room] = [*entries[:first - 1], listed(host, entries[first - 1:], room=room)]
    return at + offset * 8


def scattered(host, start, length):
    """A buffer of single pages that lie apart: their addresses, the first `start` bytes into its page."""
    count = -(-(start + length) // PAGE)
    places = [pages(2)._addr for _ in range(count)]
    return [places[0] + start, *places[1:]]


def by_pages(host, places, length, offset=0):
    start = places[0] % PAGE
    if length <= PAGE - start:
        return nvme_data_ptr(places[0])
    if length <= 2 * PAGE - start:
        return nvme_data_ptr(places[0], places[1])
    return nvme_data_ptr(places[0], listed(host, places[1:], offset=offset))


def bytes_at(places, length, write=None):
    """Read, or write, what such places hold."""
    memory, done, found = this().memory, 0, b""
    for place in places:
        here = min(PAGE - place % PAGE, length - done)
        if write is None:
            found += memory.read(place, here)
        else:
            memory.write(place, write[done:done + here])
        done += here
    return found


@settings(max_examples=60)
@given(st.integers(1, 1024), st.integers(0, PAGE // 4 - 1), st.integers(0, 511), st.integers(0, 1 << 32))
def test_any_layout_of_pages(blocks, words, offset, seed):
    """What is written from one layout is read back into another, whatever the pages' places and the lists' lengths."""
    random = Random(seed)
    host = Host(mdts=0)
    queue = host.queue(1)
    length = blocks * BLOCK
    data = random.randbytes(length)
    for opcode, start in ((nvme.nvme_cmd_write, words * 4), (nvme.nvme_cmd_read, random.randrange(PAGE // 4) * 4)):
        places = scattered(host, start, length)
        if opcode == nvme.nvme_cmd_write:
            bytes_at(places, length, data)
        command = transfer(opcode, 5, blocks, 0)
        command.dptr = by_pages(host, places, length, offset)
        assert host.code(command, queue) == 0
        assert bytes_at(places, length) == data
    assert host.controller.namespaces[1].read(5 * BLOCK, length) == data


@settings(max_examples=60)
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=12), st.integers(1, 5), st.integers(0, 4000),
       st.integers(0, 1 << 32))
def test_any_pieces(sizes, room, spare, seed):
    """Descriptors of any lengths, in segments of any lengths; more may be described than is moved."""
    random = Random(seed)
    host = Host(mdts=0)
    queue = host.queue(1)
    blocks = max(sum(sizes) // BLOCK, 1)
    sizes = [*sizes, max(blocks * BLOCK - sum(sizes), 1) + spare]
    memory = this().memory
    descriptors = [nvme_sgl_desc(pages(4)._addr + random.randrange(4096), size) for size in sizes]
    data = random.randbytes(blocks * BLOCK)
    host.controller.namespaces[1].write(0, data, through=True)
    command = transfer(nvme.nvme_cmd_read, 0, blocks, 0, flags=nvme.NVME_CMD_SGL_METABUF)
    command.dptr.sgl = segments(host, descriptors, room)
    assert host.code(command, queue) == 0
    held = b"".join(memory.read(each.addr, each.length) for each in descriptors)
    assert held[:len(data)] == data
    assert not any(held[len(data):])


def segments(host, descriptors, room):
    """A descriptor of data, or of a segment that holds at most `room` and ends in one of the next."""
    if len(descriptors) == 1:
        return descriptors[0]
    array, at = dma_alloc_coherent(host.pdev.dev, 256, nvme_sgl_desc, 0)
    if len(descriptors) <= room + 1:
        array[:len(descriptors)] = descriptors
        return nvme_sgl_desc(at, len(descriptors) * 16, type=LAST)
    array[:room] = descriptors[:room]
    array[room] = segments(host, descriptors[room:], room)
    if array[room].type == DATA:
        return nvme_sgl_desc(at, (room + 1) * 16, type=LAST)
    return nvme_sgl_desc(at, (room + 1) * 16, type=SEGMENT)


def test_lists_may_lie_anywhere_in_bytes_too():
    """Whatever kind of memory the host keeps its lists in."""
    host = Host()
    queue = host.queue(1)
    places = scattered(host, 0, 3 * PAGE)
    page = pages(1)
    page.write(8, b"".join(place.to_bytes(8, "little") for place in places[1:]))
    host.controller.namespaces[1].write(2 * PAGE, b"end", through=True)
    assert host.code(transfer(nvme.nvme_cmd_read, 0, 24, places[0], page._addr + 8), queue) == 0
    assert bytes_at(places, 3 * PAGE)[2 * PAGE:2 * PAGE + 3] == b"end"
    page.write(0, b"".join(place.to_bytes(8, "little") + PAGE.to_bytes(4, "little") + bytes(4) for place in places))
    for place in places:
        this().memory.write(place, bytes(PAGE))
    command = transfer(nvme.nvme_cmd_read, 0, 24, 0, flags=nvme.NVME_CMD_SGL_METABUF)
    command.dptr.sgl = nvme_sgl_desc(page._addr, 48, type=LAST)
    assert host.code(command, queue) == 0
    assert bytes_at(places, 3 * PAGE)[2 * PAGE:2 * PAGE + 3] == b"end"


def refusal(command, length, page=PAGE):
    with pytest.raises(Refused) as why:
        pieces(this().memory, command, length, page)
    return why.value.status


def test_wrong_pages():
    host = Host()
    entries, at = dma_alloc_coherent(host.pdev.dev, 512, "u64", 0)
    good = pages(2)._addr
    entries[:] = [good] * 512
    for prp1, prp2, length in ((good + 2, 0, 512), (good, good + 4, 2 * PAGE), (good, at + 4, 3 * PAGE)):
        assert refusal(transfer(2, 0, 1, prp1, prp2), length) == PRP_OFFSET_INVALID | NVME_SC_DNR
    assert refusal(transfer(2, 0, 1, good, 0), 2 * PAGE) == NVME_SC_INVALID_FIELD | NVME_SC_DNR
    for bad, code in ((good + 8, PRP_OFFSET_INVALID), (0, NVME_SC_INVALID_FIELD)):
        entries[1] = bad
        assert refusal(transfer(2, 0, 1, good, at), 3 * PAGE) == code | NVME_SC_DNR
        entries[1] = good
        entries[511] = bad  # leads to the next list
        assert refusal(transfer(2, 0, 1, good, at), 514 * PAGE) == code | NVME_SC_DNR
        entries[511] = good


def test_a_full_list_ends_in_an_entry_unless_more_follow():
    host = Host()
    places = [pages(1)._addr for _ in range(513)]
    at = listed(host, places[1:])
    assert len(pieces(this().memory, transfer(2, 0, 1, places[0], at), 513 * PAGE, PAGE)) == 513


def test_pages_of_another_size():
    host = Host(enable=False)
    place = pages(16)
    found = pieces(this().memory, transfer(2, 0, 1, place._addr + 512, place._addr + 2 * PAGE), 2 * PAGE, 2 * PAGE)
    assert found == [(place._addr + 512, 2 * PAGE - 512), (place._addr + 2 * PAGE, 512)]
    assert refusal(transfer(2, 0, 1, place._addr + 512, place._addr + PAGE), 2 * PAGE, 2 * PAGE) == (
        PRP_OFFSET_INVALID | NVME_SC_DNR)
    assert host.controller.page == PAGE


@pytest.mark.parametrize(("descriptors", "code"), [
    ([(512, 0x50)], NVME_SC_SGL_INVALID_LAST),
    ([(0, LAST)], NVME_SC_SGL_INVALID_LAST),
    ([(24, LAST)], NVME_SC_SGL_INVALID_LAST),
    ([(32, LAST), (512, DATA), (16, SEGMENT)], NVME_SC_SGL_INVALID_LAST),
    ([(16, SEGMENT), (16, SEGMENT)], NVME_SC_SGL_INVALID_LAST),
    ([(32, LAST), (16, LAST), (512, DATA)], NVME_SC_SGL_INVALID_TYPE),
    ([(256, DATA)], NVME_SC_SGL_INVALID_DATA),
    ([(32, LAST), (128, DATA), (256, DATA)], NVME_SC_SGL_INVALID_DATA)])
def test_wrong_descriptors(descriptors, code):
    host = Host()
    place = pages(1)._addr
    array, at = dma_alloc_coherent(host.pdev.dev, 256, nvme_sgl_desc, 0)
    (length, kind), *rest = descriptors
    array[:len(rest)] = [nvme_sgl_desc(place if each == DATA else at, size, type=each) for size, each in rest]
    command = transfer(2, 0, 1, 0, flags=nvme.NVME_CMD_SGL_METABUF)
    command.dptr.sgl = nvme_sgl_desc(place if kind == DATA else at, length, type=kind)
    assert refusal(command, 512) == code | NVME_SC_DNR


def test_both_ways_at_once_are_none():
    Host()
    command = transfer(2, 0, 1, pages(1)._addr, flags=nvme.NVME_CMD_SGL_ALL)
    assert refusal(command, 512) == NVME_SC_INVALID_FIELD


def test_a_controller_that_knows_no_descriptors():
    host = Host(sgl=False)
    queue = host.queue(1)
    command = transfer(2, 0, 1, 0, flags=nvme.NVME_CMD_SGL_METABUF)
    command.dptr.sgl = nvme_sgl_desc(pages(1)._addr, 512)
    assert host.code(command, queue) == NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_memory_that_is_not_allocated_is_the_hosts_mistake():
    host = Host()
    queue = host.queue(1)
    page = pages(1)
    addr = page._addr
    __free_pages(page, 0)
    with pytest.raises(MemoryError_, match="nothing is"):
        host.code(transfer(nvme.nvme_cmd_read, 0, 1, addr), queue)
