"""Memory of the kernel for a driver's own request: used as it lies, or copied; and what is refused."""

import pytest

from blkmodel import boot
from blkmodel.block import blk_core, blk_map, blk_settings
from blkmodel.include.linux.blk_types import REQ_FAILFAST_DEV, REQ_OP_DRV_IN, REQ_OP_DRV_OUT
from blkmodel.include.linux.blkdev import RQF_COPY_USER, request
from blkmodel.services.base.err import EINVAL, ENOMEM
from blkmodel.services.memory.mm import virt_to_page
from blkmodel.services.memory.slab import GFP_KERNEL, NUMA_NO_NODE, kcalloc
from blkmodel.sim.memory import address_of
from blkmodel.sim.structure import Array


@pytest.fixture
def kernel():
    return boot(1)


@pytest.fixture
def q(kernel):
    made = blk_core.blk_alloc_queue_node(GFP_KERNEL, NUMA_NO_NODE)
    blk_settings.blk_queue_make_request(made, lambda q, bio: -1)
    return made


def buffer(size):
    return kcalloc(size, "u8", GFP_KERNEL)


def a_request(q, op):
    rq = request()
    blk_core.blk_rq_init(q, rq)
    rq.cmd_flags = op | REQ_FAILFAST_DEV
    rq._data_len = 0
    return rq


def mapped(q, op, memory, length):
    rq = a_request(q, op)
    return blk_map.blk_rq_map_kern(q, rq, memory, length, GFP_KERNEL), rq


@pytest.mark.parametrize("op", [REQ_OP_DRV_IN, REQ_OP_DRV_OUT])
def test_aligned_memory_is_used_as_it_lies(q, op):
    memory = buffer(4096)
    ret, rq = mapped(q, op, memory, 4096)
    assert ret == 0
    assert not rq.rq_flags & RQF_COPY_USER
    assert rq.bio.bi_opf == op
    assert rq._data_len == 4096
    assert [bv.bv_len for bv in rq.bio.bi_io_vec[:rq.bio.bi_vcnt]] == [4096]
    assert rq.bio.bi_io_vec[0].bv_page is virt_to_page(memory._addr)


@pytest.mark.parametrize("made", [lambda: Array("u8", range(16)), lambda: buffer(16)])
def test_memory_on_the_stack_or_of_an_odd_length_is_copied(kernel, q, made):
    memory = made()
    ret, rq = mapped(q, REQ_OP_DRV_OUT, memory, 16)
    assert ret == 0
    assert rq.rq_flags & RQF_COPY_USER
    assert rq.bio.bi_opf == REQ_OP_DRV_OUT
    copy = rq.bio.bi_io_vec[0]
    assert not address_of(memory) or copy.bv_page is not virt_to_page(address_of(memory))
    assert copy.bv_page.read(copy.bv_offset, 16) == bytes(memory)


def test_what_is_refused(kernel, q):
    live = dict(kernel.memory.live)
    assert mapped(q, REQ_OP_DRV_IN, None, 16)[0] == -EINVAL
    assert mapped(q, REQ_OP_DRV_IN, Array("u8", [0]), 0)[0] == -EINVAL
    ret, rq = mapped(q, REQ_OP_DRV_IN, Array("u8", [0]), (255 << 9) + 1)
    assert (ret, rq.bio) == (-EINVAL, None)
    kernel.memory.fail_nth(1)
    assert mapped(q, REQ_OP_DRV_IN, Array("u8", [0]), 1)[0] == -ENOMEM
    assert kernel.memory.live == live
