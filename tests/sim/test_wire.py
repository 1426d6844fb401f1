"""Structures as bytes: whatever is stored in one is read back, and lies where the kernel's build says."""

import struct
from random import Random
from typing import Annotated, Any

import pytest
from hypothesis import given, strategies as st

import blkmodel
from blkmodel.include.linux import nvme
from blkmodel.services.memory.mm import alloc_page, virt_to_page
from blkmodel.services.memory.slab import kcalloc, kfree, kzalloc
from blkmodel.sim import this, wire
from blkmodel.sim.memory import MemoryError_
from blkmodel.sim.structure import Array, Struct, layouts, sizeof
from blkmodel.sim.wire import u8, u16, u32


class inner(Struct, size=4):
    """Part of another."""

    a: u16 = 0
    b: u16 = 0


class outer(Struct, size=32):
    """One of each kind of field, and one that only the model has."""

    one: u8 = 0
    text: Annotated[bytes, 3] = b""
    numbers: Annotated[Any, ("I", 2)] = (0, 0)
    part: Annotated[Any, inner] = None
    parts: Annotated[Any, (inner, 2)] = None
    last: u32 = 0
    tail: u32 = 0
    _own: Any = None


CLASSES = [each for each in vars(nvme).values()
           if isinstance(each, type) and issubclass(each, Struct) and each is not Struct]


def test_a_field_of_each_kind():
    thing = outer(1, b"ab", [2, 3], inner(4, 5), [inner(6, 7), inner(8, 9)], 10, 11)
    data = wire.pack(thing)
    assert data == struct.pack("<B3s2I6H2I", 1, b"ab", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    seen = outer()
    wire.unpack(seen, data)
    assert (seen.one, seen.text, seen.numbers, seen.part.b) == (1, b"ab\0", [2, 3], 5)
    assert (seen.parts[1].a, seen.tail) == (8, 11)
    assert wire.pack(outer(part=None, parts=[inner(), inner()])) == bytes(32)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@given(seed=st.integers(0, 1 << 32))
def test_any_bytes_of_a_structure_are_kept(cls, seed):
    raw = Random(seed).randbytes(sizeof(cls))
    thing = cls()
    wire.unpack(thing, raw)
    packed = wire.pack(thing)
    again = cls()
    wire.unpack(again, packed)
    assert wire.pack(again) == packed
    if cls.__name__ not in ("nvme_command", "nvme_data_ptr"):
        for _, offset, length, _ in wire.layout(cls):
            assert packed[offset:offset + length] == raw[offset:offset + length]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.__name__ in layouts() and cls is not nvme.nvme_command],
                         ids=lambda cls: cls.__name__)
def test_fields_lie_where_the_build_has_them(cls):
    sizes = {"__u8": 1, "__le16": 2, "__u16": 2, "__le32": 4, "__u32": 4, "__le64": 8, "__u64": 8}
    known = {each["name"]: each for each in layouts()[cls.__name__]["fields"]}
    for name, offset, length, _ in wire.layout(cls):
        assert offset == known[name]["offset"]
        if known[name]["type"] in sizes:
            assert length == sizes[known[name]["type"]]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.__name__ not in layouts()
                                 and not hasattr(cls, "to_bytes")], ids=lambda cls: cls.__name__)
def test_structures_that_the_build_does_not_describe_have_no_gaps(cls):
    """Behind the last field that somebody uses there may be others."""
    ends = [offset + length for _, offset, length, _ in wire.layout(cls)]
    assert [offset for _, offset, _, _ in wire.layout(cls)] == [0, *ends[:-1]]
    assert ends[-1] <= sizeof(cls)


def test_a_command_can_be_read_as_another():
    command = nvme.nvme_command(nvme.nvme_rw_command(opcode=2, slba=0x100000007, length=3))
    assert command.rw is command.common
    assert (command.features.fid, command.features.dword11) == (7, 1)
    command.identify = nvme.nvme_identify(opcode=6, cns=2)
    assert (command.common.opcode, command.rw.slba) == (6, 2)


def test_a_place_for_data_is_pages_or_a_descriptor():
    pointer = nvme.nvme_data_ptr(sgl=nvme.nvme_sgl_desc(0x1000, 512, type=0x30))
    seen = nvme.nvme_data_ptr()
    wire.unpack(seen, wire.pack(pointer))
    assert (seen.prp1, seen.prp2) == (0x1000, 0x30 << 56 | 512)
    assert (seen.sgl.addr, seen.sgl.length, seen.sgl.type) == (0x1000, 512, 0x30)


@given(st.integers(0, 31), st.binary(min_size=1, max_size=32))
def test_a_part_of_a_structure(offset, data):
    blkmodel.boot(1)
    thing = kzalloc(outer, 0)
    thing.part, thing.parts = inner(), [inner(), inner()]
    data = data[:32 - offset]
    this().memory.write(thing._addr + offset, data)
    assert this().memory.read(thing._addr, 32) == bytes(offset) + data + bytes(32 - offset - len(data))


@given(st.sampled_from(["u8", "u16", "u32", "u64"]), st.integers(0, 63), st.binary(min_size=1, max_size=64))
def test_a_part_of_an_array(kind, offset, data):
    blkmodel.boot(1)
    array = kcalloc(64 // sizeof(kind), kind, 0)
    data = data[:64 - offset]
    this().memory.write(array._addr + offset, data)
    assert this().memory.read(array._addr, 64) == bytes(offset) + data + bytes(64 - offset - len(data))
    assert b"".join(each.to_bytes(sizeof(kind), "little") for each in array)[offset:offset + len(data)] == data


def test_an_array_of_structures():
    blkmodel.boot(1)
    array = kcalloc(3, nvme.nvme_dsm_range, 0)
    array[1] = nvme.nvme_dsm_range(slba=9)
    array[2] = None  # zeros
    memory = this().memory
    assert memory.read(array._addr + 24, 24) == (9).to_bytes(8, "little") + bytes(16)
    memory.write(array._addr + 32, (5).to_bytes(4, "little"))
    assert array[2].cattr == 5
    assert memory.item(array._addr + 16) == (array, 1)
    memory.store(array._addr, nvme.nvme_dsm_range(nlb=3))
    assert array[0].nlb == 3


def test_what_has_no_layout_is_not_for_devices():
    blkmodel.boot(1)
    for thing in (kcalloc(4, "pointer", 0), kcalloc(4, "int", 0)):
        thing[:] = [None] * 4
    with pytest.raises(wire.NotBytes, match="array of type pointer"):
        this().memory.read(kcalloc(4, "pointer", 0)._addr, 8)
    with pytest.raises(wire.NotBytes, match="struct nothing"):
        wire.pack(nothing())
    assert wire.pack(Array("int", [-1])) == b"\xff" * 4


class nothing(Struct, size=8):
    """What only the kernel uses."""

    pointer: Any = None


def test_memory_that_is_not_there():
    blkmodel.boot(1)
    memory = this().memory
    array = kcalloc(100, "u8", 0)
    addr = array._addr
    with pytest.raises(MemoryError_, match=r"8 bytes at .* reach beyond u8\[\] of 100 bytes"):
        memory.read(addr + 96, 8)
    kfree(array)
    with pytest.raises(MemoryError_, match="nothing is allocated"):
        memory.read(addr, 1)
    with pytest.raises(MemoryError_, match="nothing is allocated at 0x0"):
        memory.write(0, b"x")


def test_pages_of_what_kmalloc_gave_out():
    """A page that holds small things is a page: reading it at the right place reads the thing."""
    blkmodel.boot(1)
    array = kcalloc(64, "u8", 0)
    array[:3] = [1, 2, 3]
    page = virt_to_page(array._addr)
    assert page is virt_to_page(array._addr)
    assert page._addr == array._addr & ~4095
    offset = array._addr - page._addr
    assert page.read(offset, 4) == b"\1\2\3\0"
    page.write(offset + 1, b"xy")
    assert array[:3] == [1, ord("x"), ord("y")]
    large = kcalloc(8192, "u8", 0)
    assert virt_to_page(large._addr).nth(1) is virt_to_page(large._addr + 4096)
    with pytest.raises(AssertionError, match="nothing is allocated"):
        virt_to_page(0x1000)


def test_pages_are_bytes():
    blkmodel.boot(1)
    page = alloc_page(0)
    assert this().memory.read(page._addr + 10, 3) == bytes(3)
    this().memory.write(page._addr + 10, b"abc")
    assert page.read(9, 5) == b"\0abc\0"
    page.write(11, b"z")
    assert this().memory.read(page._addr + 10, 3) == b"azc"
