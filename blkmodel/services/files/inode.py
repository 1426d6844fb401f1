"""Inodes: what a file is, whatever its names, and the pages that are cached of it (include/linux/fs.h, blkdev.h,
fs/inode.c, fs/fs-writeback.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from blkmodel.services.base import linked
from blkmodel.services.tasks import call_rcu
from blkmodel.sim import NULL, PAGE_SIZE, Struct, statics

if TYPE_CHECKING:
    from blkmodel.include.linux.fs import block_device
    from blkmodel.services.devices.cdev import cdev
    from blkmodel.services.files.file import file_operations
    from blkmodel.services.memory.mm import page

S_IFBLK, S_IFCHR, S_IFMT = 0o060000, 0o020000, 0o170000
LLONG_MAX = (1 << 63) - 1  # the largest offset

I_DIRTY_SYNC, I_DIRTY_DATASYNC, I_DIRTY_PAGES, I_NEW, I_FREEING = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
I_DIRTY = I_DIRTY_SYNC | I_DIRTY_DATASYNC | I_DIRTY_PAGES


class writeback_control(NamedTuple):
    """What is to be written back: the pages that bytes range_start to range_end are in."""

    range_start: int = 0
    range_end: int = LLONG_MAX


class address_space_operations(Struct, size=168):
    """How the pages of a mapping are read, written back and let go; None where that is not done."""

    readpage: Callable[..., int] = NULL
    readpages: Callable[..., int] = NULL
    writepage: Callable[..., int] = NULL
    writepages: Callable[..., int] = NULL
    write_begin: Callable[..., page] = NULL
    write_end: Callable[..., int] = NULL
    releasepage: Callable[..., int] = NULL
    direct_IO: Callable[..., int] = NULL


class super_operations(Struct, size=184):
    """How a file system makes and ends inodes."""

    alloc_inode: Callable[..., inode] = NULL
    free_inode: Callable[..., None] = NULL
    evict_inode: Callable[..., None] = NULL


class super_block(Struct, size=1536):
    """A mounted file system."""

    s_op: super_operations = NULL


class address_space(Struct, size=168):
    """The page cache of an inode: `pages` by their index, nrpages of them."""

    host: inode = NULL
    nrpages: int = 0
    a_ops: address_space_operations = NULL
    pages: dict[int, page] = field(default_factory=dict)


class inode(Struct, size=584):
    """A file, whatever its names. i_count references are held; while it is hashed others find it. For a device node,
    i_rdev is the device's number, and i_bdev or i_cdev the block or character device, once it was opened.

    _hash is where it is hashed, or None; _owner is the structure that embeds it.
    """

    i_mode: int = 0
    i_rdev: int = 0
    i_bdev: block_device = NULL
    i_cdev: cdev = NULL
    i_size: int = 0
    i_blkbits: int = 0
    i_state: int = 0
    i_count: int = 0
    i_sb: super_block = NULL
    i_mapping: address_space = NULL
    i_data: address_space = field(default_factory=address_space)
    i_fop: file_operations = NULL
    _hash: tuple[super_block, int] = NULL
    _owner: Any = None


class inode_hashtable(statics, dict[tuple[super_block, int], list[inode]]):
    """Inodes by (file system, hash value). Those of device nodes are on no such list."""


def i_size_read(of: inode) -> int:
    return of.i_size


def i_size_write(of: inode, size: int) -> None:
    of.i_size = size


def i_blocksize(of: inode) -> int:
    return 1 << of.i_blkbits


def blksize_bits(size: int) -> int:
    return size.bit_length() - 1


def inode_init_always(sb: super_block, of: inode) -> None:
    """Make a zeroed inode one of a file system."""
    of.i_sb, of.i_count = sb, 1
    of.i_data.host = of
    of.i_mapping = of.i_data


def find_inode(sb: super_block, hashval: int, test: Callable[..., int], data: Any) -> inode:
    """A hashed inode for which test(inode, data) holds; None where there is none."""
    return next((found for found in inode_hashtable().get((sb, hashval), ()) if test(found, data)), NULL)


def iget5_locked(sb: super_block, hashval: int, test: Callable[..., int], set: Callable[..., int], data: Any) -> inode:
    """Find an inode and take a reference, or make one that set(inode, data) prepares; I_NEW then says that its caller
    is to fill it. None on failure."""
    if (found := find_inode(sb, hashval, test, data)) is not None:
        found.i_count += 1
        return found
    if (made := sb.s_op.alloc_inode(sb)) is None:
        return None
    inode_init_always(sb, made)
    made.i_blkbits = PAGE_SIZE.bit_length() - 1
    if set(made, data):
        _destroy(made)
        return None
    made.i_state = I_NEW
    made._hash = (sb, hashval)
    inode_hashtable().setdefault(made._hash, []).insert(0, made)
    return made


def ilookup5(sb: super_block, hashval: int, test: Callable[..., int], data: Any) -> inode:
    """Find an inode and take a reference; None where there is none."""
    return igrab(find_inode(sb, hashval, test, data))


def igrab(of: inode) -> inode:
    if of is not None:
        of.i_count += 1
    return of


ihold = igrab


def unlock_new_inode(of: inode) -> None:
    of.i_state &= ~I_NEW


def inode_unhashed(of: inode) -> bool:
    return of._hash is None


def remove_inode_hash(of: inode) -> None:
    """Let nobody find the inode any more."""
    if of._hash is not None:
        chain = inode_hashtable()[of._hash]
        chain.remove(of)
        if not chain:
            del inode_hashtable()[of._hash]
        of._hash = NULL


def iput(of: inode) -> None:
    """Drop a reference; an inode that nobody has is not kept."""
    if of is None:
        return
    assert of.i_count > 0, "an inode was put too often"
    of.i_count -= 1
    if of.i_count:
        return
    of.i_state |= I_FREEING
    if of.i_sb is not None:
        of.i_sb.s_op.evict_inode(of)
    if of.i_mode & S_IFMT == S_IFBLK and of.i_bdev is not None:
        linked.bd_forget(of)
    remove_inode_hash(of)
    if of.i_sb is not None:
        _destroy(of)


def _destroy(of: inode) -> None:
    call_rcu(lambda: of.i_sb.s_op.free_inode(of))


def clear_inode(of: inode) -> None:
    """Nothing is cached of the inode any more."""
    assert of.i_data.nrpages == 0, "an inode ends while pages of it are cached"


def sb_is_blkdev_sb(sb: super_block) -> bool:
    """Whether it is the block devices' own file system."""
    return sb is not None


def write_inode_now(of: inode, sync: int) -> int:
    """Write an inode back: of a block device's, its pages. Returns 0 or -errno."""
    error = of.i_mapping.a_ops.writepages(of.i_mapping, writeback_control())
    of.i_state &= ~I_DIRTY
    return error
