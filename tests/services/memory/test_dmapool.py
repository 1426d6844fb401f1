"""Pools of blocks that a device reads."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.include.linux.nvme import nvme_sgl_desc
from blkmodel.services.devices.device import device
from blkmodel.services.memory.dma_mapping import (dma_alloc_coherent, dma_free_coherent, dma_pool_alloc,
    dma_pool_create, dma_pool_destroy, dma_pool_free)
from blkmodel.sim import machine, this
from blkmodel.sim.memory import MemoryError_


def pool(size=256, node=0):
    blkmodel.boot(machine(2, nodes=2))
    return dma_pool_create("blocks", device(numa_node=node), size, size, 0)


def test_blocks_lie_in_pages_of_the_devices_node():
    made = pool(node=1)
    blocks = [dma_pool_alloc(made, 0, "u64") for _ in range(16)]
    starts = [addr for _, addr in blocks]
    assert [addr - starts[0] for addr in starts[:15]] == list(range(0, 3840, 256))
    # The kernel does not use the last block of a page.
    assert starts[15] != starts[0] + 3840
    assert {len(array) for array, _ in blocks} == {32}
    assert {this().memory.live[addr & ~4095].node for addr in starts} == {1}


def test_what_is_given_back_is_given_out_next():
    made = pool()
    first, second = (dma_pool_alloc(made, 0, "u64") for _ in range(2))
    dma_pool_free(made, *first)
    assert dma_pool_alloc(made, 0, "u64")[1] == first[1]
    dma_pool_free(made, *second)


def test_a_device_sees_blocks_only_while_they_are_given_out():
    made = pool()
    array, addr = dma_pool_alloc(made, 0, "u64")
    array[1] = 0x1234
    memory = this().memory
    assert memory.read(addr + 8, 8) == (0x1234).to_bytes(8, "little")
    dma_pool_free(made, array, addr)
    with pytest.raises(MemoryError_, match=r"nothing is kept at .*, in dma_pool\(blocks\)"):
        memory.read(addr + 8, 8)


def test_blocks_of_descriptors_are_zeros_at_first():
    made = pool(4096)
    array, addr = dma_pool_alloc(made, 0, nvme_sgl_desc)
    assert len(array) == 256
    assert this().memory.read(addr, 4096) == bytes(4096)


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([256, 4096]))
def test_blocks_never_overlap_and_all_come_back(steps, size):
    made = pool(size)
    live = dict(this().memory.live)
    held = []
    for take in steps:
        if take:
            held.append(dma_pool_alloc(made, 0, "u64"))
            starts = sorted(addr for _, addr in held)
            assert all(b - a >= size for a, b in pairwise(starts))
        elif held:
            dma_pool_free(made, *held.pop(0))
    for block in held:
        dma_pool_free(made, *block)
    dma_pool_destroy(made)
    assert this().memory.live.keys() == live.keys() - {made._addr}


@pytest.mark.parametrize("nth", [1, 2])
def test_without_memory(nth):
    made = pool()
    live = this().memory.live.keys()
    before = set(live)
    this().memory.fail_nth(nth)
    assert dma_pool_alloc(made, 0, "u64") == (None, 0)
    assert set(live) == before
    assert dma_pool_alloc(made, 0, "u64")[1]


def test_no_pool_without_memory():
    blkmodel.boot(1)
    this().memory.fail_nth(1)
    assert dma_pool_create("blocks", device(), 256, 256, 0) is None
    dma_pool_destroy(None)


def test_a_pool_in_use_is_not_destroyed():
    made = pool()
    dma_pool_alloc(made, 0, "u64")
    with pytest.raises(AssertionError, match="1 blocks of pool blocks are in use"):
        dma_pool_destroy(made)


def test_coherent_memory_is_rounded_to_pages():
    blkmodel.boot(1)
    ring, addr = dma_alloc_coherent(device(), 3, "u32", 0)
    assert ring == [0, 0, 0]
    assert this().memory.live[addr].size == 4096
    ring[2] = 5
    assert this().memory.read(addr + 8, 4) == b"\5\0\0\0"
    dma_free_coherent(None, ring, addr)
    with pytest.raises(MemoryError_):
        this().memory.read(addr, 4)
