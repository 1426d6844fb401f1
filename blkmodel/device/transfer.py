"""Where a command's data lies in the host's memory: pages and lists of pages (PRPs), or descriptors (SGLs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from blkmodel.include.linux.nvme import (NVME_CMD_SGL_ALL, NVME_SC_DNR, NVME_SC_INVALID_FIELD, NVME_SC_SGL_INVALID_DATA,
    NVME_SC_SGL_INVALID_LAST, NVME_SC_SGL_INVALID_TYPE, NVME_SGL_FMT_ADDRESS, NVME_SGL_FMT_DATA_DESC,
    NVME_SGL_FMT_LAST_SEG_DESC, NVME_SGL_FMT_SEG_DESC, nvme_data_ptr, nvme_sgl_desc)
from blkmodel.sim import Array, Memory, sizeof, this, wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller

Places = list[tuple[int, int]]  # pieces of memory, as (address, bytes)

PRP_OFFSET_INVALID = 0x13  # the standard's, which the kernel has no name for
ENTRY, DESCRIPTOR = 8, 16
DATA, SEGMENT, LAST = (kind << 4 | NVME_SGL_FMT_ADDRESS for kind in (
    NVME_SGL_FMT_DATA_DESC, NVME_SGL_FMT_SEG_DESC, NVME_SGL_FMT_LAST_SEG_DESC))


class HasData(Protocol):
    """A command that comes with data, or brings some."""

    flags: int
    dptr: nvme_data_ptr


class Refused(Exception):
    """A command cannot be executed: with this status it is answered."""

    def __init__(self, status: int, retry: bool = False) -> None:
        self.status = status if retry else status | NVME_SC_DNR
        super().__init__(f"status {status:#x}")


def pieces(memory: Memory, command: HasData, length: int, page: int) -> Places:
    """The pieces of memory that hold a command's `length` bytes, in order, as (address, bytes). `page`: bytes of one,
    as the host has configured the controller. Refused where the command describes no such memory."""
    if command.flags & NVME_CMD_SGL_ALL:
        if command.flags & NVME_CMD_SGL_ALL == NVME_CMD_SGL_ALL:
            raise Refused(NVME_SC_INVALID_FIELD, retry=True)
        return _by_descriptors(memory, command.dptr.sgl, length)
    return _by_pages(memory, command.dptr.prp1, command.dptr.prp2, length, page)


def _by_pages(memory: Memory, prp1: int, prp2: int, length: int, page: int) -> Places:
    """The first page may begin anywhere; from then on all are whole, but for the last one's end."""
    if prp1 & 3:
        raise Refused(PRP_OFFSET_INVALID)
    first = page - (prp1 & page - 1)
    if length <= first:
        return [(prp1, length)]
    found = [(prp1, first)]
    length -= first
    if length <= page:
        return [*found, (_aligned(prp2, page), length)]
    place = _aligned(prp2, ENTRY)
    while length:
        left, needed = (page - (place & page - 1)) // ENTRY, -(-length // page)
        entries = _items(memory, place, min(left, needed), "u64")
        chained = needed > left
        for entry in entries[:-1] if chained else entries:
            found.append((_aligned(entry, page), min(length, page)))
            length -= found[-1][1]
        if chained:
            place = _aligned(entries[-1], page)
    return found


def _aligned(place: int, to: int) -> int:
    """Where something lies in memory: somewhere, at a multiple of `to`."""
    if not place or place & to - 1:
        raise Refused(PRP_OFFSET_INVALID if place else NVME_SC_INVALID_FIELD)
    return place


def _items(memory: Memory, place: int, count: int, kind: Any) -> Array:
    """Read so many entries, or descriptors, of a list."""
    size = sizeof(kind)
    held = memory.at(place, count * size)
    if isinstance(held.thing, Array) and held.thing.kind == kind:
        first = (place - held.addr) // size
        return Array(kind, held.thing[first:first + count])
    read = Array(kind, [None] * count)
    wire.unpack(read, memory.read(place, count * size))
    return read


def _by_descriptors(memory: Memory, descriptor: nvme_sgl_desc, length: int) -> Places:
    """A piece of data; or a segment, that is a list whose last descriptor leads to another, or none of that."""
    found: Places = []
    if descriptor.type == DATA:
        length = _take(found, descriptor, length)
    while descriptor.type != DATA:
        if descriptor.type not in (SEGMENT, LAST) or not descriptor.length or descriptor.length % DESCRIPTOR:
            raise Refused(NVME_SC_SGL_INVALID_LAST)
        segment = [each or nvme_sgl_desc() for each in
                   _items(memory, descriptor.addr, descriptor.length // DESCRIPTOR, nvme_sgl_desc)]
        following = segment[-1]
        if following.type != DATA:
            del segment[-1]
            if descriptor.type == LAST or not segment:
                raise Refused(NVME_SC_SGL_INVALID_LAST)  # of empty segments there might be no end
        for each in segment:
            length = _take(found, each, length)
        descriptor = following
    if length:
        raise Refused(NVME_SC_SGL_INVALID_DATA)
    return found


def _take(found: Places, descriptor: nvme_sgl_desc, length: int) -> int:
    """Add a piece of data; return how many bytes are still to come. The host may describe more than is needed."""
    if descriptor.type != DATA:
        raise Refused(NVME_SC_SGL_INVALID_TYPE)
    if descriptor.length and length:
        found.append((descriptor.addr, min(descriptor.length, length)))
    return max(length - descriptor.length, 0)


def read_host(memory: Memory, places: Places) -> bytes:
    """The bytes in pieces of the host's memory."""
    if len(places) == 1:
        return memory.read(*places[0])
    return b"".join(memory.read(addr, length) for addr, length in places)


def write_host(memory: Memory, places: Places, data: bytes) -> None:
    """Store bytes in pieces of the host's memory, which have room for them."""
    if len(places) == 1:
        memory.write(places[0][0], data)
        return
    at = 0
    for addr, length in places:
        memory.write(addr, data[at:at + length])
        at += length


def to_host(controller: Controller, command: HasData, data: bytes) -> None:
    """Bring an admin command's answer to where the command says."""
    write_host(this().memory, _places(controller, command, len(data)), data)


def from_host(controller: Controller, command: HasData, length: int) -> bytes:
    """The bytes that come with an admin command."""
    return read_host(this().memory, _places(controller, command, length))


def _places(controller: Controller, command: HasData, length: int) -> Places:
    """Admin commands say where their data is by pages only."""
    if command.flags & NVME_CMD_SGL_ALL:
        raise Refused(NVME_SC_INVALID_FIELD)
    return pieces(this().memory, command, length, controller.page)
