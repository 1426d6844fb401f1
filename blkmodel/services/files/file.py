"""Device nodes, the names below /dev, by which user space opens devices; and open files: how they are opened, closed,
read and written (fs/namei.c, fs/open.c, fs/ioctl.c, fs.h, fs/read_write.c, fs/sync.c,
arch/x86/include/asm/uaccess.h)."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from blkmodel.services.base import (EBADF, EEXIST, EFAULT, EINVAL, ENOENT, ENOTTY, EOPNOTSUPP, ERR_PTR, ESPIPE, IS_ERR,
    linked)
from blkmodel.services.devices.cdev import chrdev_open
from blkmodel.services.devices.device import devices, devtmpfs_node
from blkmodel.services.files.inode import LLONG_MAX, S_IFBLK, address_space, igrab, inode, inode_init_always, iput
from blkmodel.services.files.uio import iov_iter
from blkmodel.sim import NULL, Struct, running

FMODE_READ, FMODE_WRITE, FMODE_NDELAY, FMODE_EXCL, FMODE_WRITE_IOCTL = 0x1, 0x2, 0x40, 0x80, 0x100
FMODE_NOWAIT, O_ACCMODE, O_RDONLY, O_WRONLY, O_RDWR, O_EXCL, O_NDELAY = 0x8000000, 0o3, 0, 1, 2, 0o200, 0o4000
O_DSYNC, O_DIRECT, O_LARGEFILE, IOCB_DIRECT, IOCB_DSYNC, IOCB_HIPRI = 0o10000, 0o40000, 0o100000, 1 << 2, 1 << 4, 1 << 3
FMODE_LSEEK, FMODE_PREAD, FMODE_PWRITE = 0x4, 0x8, 0x10
IOCB_NOWAIT, RWF_HIPRI, RWF_DSYNC, RWF_NOWAIT, EPOLLIN = 1 << 7, 1 << 0, 1 << 1, 1 << 3, 0x1


class file_operations(Struct, size=256):
    """What the files of an inode can do."""

    open: Callable[..., int] = NULL
    release: Callable[..., int] = NULL
    read_iter: Callable[..., int] = NULL
    write_iter: Callable[..., int] = NULL
    fsync: Callable[..., int] = NULL
    poll: Callable[..., int] = NULL
    unlocked_ioctl: Callable[..., int] = NULL


def kern_path(path: str) -> inode:
    """The inode of a path, without a reference; or an error pointer. Only /dev has any."""
    return inode_at(path) if path.startswith("/dev/") else ERR_PTR(-ENOENT)


def inode_at(name: str) -> inode:
    """The inode of the device node of that name below /dev, without a reference; or an error pointer."""
    if (node := devices().nodes.get(name.removeprefix("/dev/"))) is None:
        return ERR_PTR(-ENOENT)
    if node.inode is None:
        fops = linked.def_blk_fops if node.mode == S_IFBLK else def_chr_fops
        node.inode = inode(i_mode=node.mode, i_rdev=node.rdev, i_fop=fops)
        inode_init_always(None, node.inode)
    return node.inode


def mknod(path: str, mode: int, dev: int) -> int:
    """Make the node of a device: `mode` is its kind. Returns 0, or -EEXIST for a name that is taken."""
    if (name := path.removeprefix("/dev/")) in devices().nodes:
        return -EEXIST
    devices().nodes[name] = devtmpfs_node(name, dev, mode)
    return 0


def unlink(path: str) -> int:
    """Remove a node. Whoever opened it keeps the device open. Returns 0 or -ENOENT."""
    if (node := devices().nodes.pop(path.removeprefix("/dev/"), None)) is None:
        return -ENOENT
    iput(node.inode)
    return 0


def_chr_fops = file_operations(open=chrdev_open)


class file_ra_state(Struct, size=32):
    """What was read ahead of an open file: `size` pages from index `start` on; the mark that has more read is before
    the last async_size of them. ra_pages: how far to read ahead at most; prev_pos: where the last read ended."""

    start: int = 0
    size: int = 0
    async_size: int = 0
    ra_pages: int = 0
    prev_pos: int = -1


class file(Struct, size=256):
    """An open file. f_ra: what is read ahead of it."""

    f_inode: inode = NULL
    f_mapping: address_space = NULL
    f_op: file_operations = NULL
    f_flags: int = 0
    f_mode: int = 0
    f_ra: file_ra_state = field(default_factory=file_ra_state)
    private_data: Any = None


class kiocb(Struct, size=48):
    """One read or write: where (ki_pos), how (ki_flags) and, if nobody waits for it, whom to call: ki_complete(iocb,
    ret, ret2)."""

    ki_filp: file = NULL
    ki_pos: int = 0
    ki_complete: Callable[..., None] = NULL
    private: Any = None
    ki_flags: int = 0


def filp_open(name: str, flags: int) -> file:
    """Open the device node of that name, with O_* flags. Returns the file, or an error pointer: -EINVAL for O_DIRECT
    where there is no page cache to get past.

    The node remembers the block device, and holds it, until it is removed.
    """
    found: Any = inode_at(name)
    if IS_ERR(found):
        return found
    filp = file(f_inode=igrab(found), f_mapping=found.i_mapping, f_op=found.i_fop, f_flags=flags,
                f_mode=(flags + 1) & O_ACCMODE | FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE)
    if error := filp.f_op.open(found, filp):
        iput(filp.f_inode)
        return ERR_PTR(error)
    if flags & O_DIRECT and (filp.f_mapping.a_ops is None or filp.f_mapping.a_ops.direct_IO is None):
        filp_close(filp)
        return ERR_PTR(-EINVAL)
    if filp.f_mapping.host.i_bdev is not None:
        filp.f_ra.ra_pages = filp.f_mapping.host.i_bdev.bd_bdi.ra_pages
    return filp


def filp_close(filp: file) -> int:
    """Close a file."""
    filp.f_op.release(filp.f_inode, filp)
    iput(filp.f_inode)
    return 0


def nonseekable_open(inode: inode, filp: file) -> int:
    """What is opened has no positions: nobody reads or writes it at one. Returns 0."""
    filp.f_mode &= ~(FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE)
    return 0


def vfs_fsync(filp: file, datasync: int) -> int:
    """Let everything that was written to a file be on the medium; `datasync`: the data. Returns 0 or -errno: -EINVAL
    where its driver does not do that."""
    return filp.f_op.fsync(filp, 0, LLONG_MAX, datasync) if filp.f_op.fsync is not None else -EINVAL


def vfs_ioctl(filp: file, cmd: int, arg: Any) -> int:
    """Ask the driver of an open file for something. Returns what it says, or -ENOTTY where it does not do that."""
    return filp.f_op.unlocked_ioctl(filp, cmd, arg) if filp.f_op.unlocked_ioctl is not None else -ENOTTY


def put_user(val: int, arg: list[int]) -> int:
    """Put a value where user space wants it: a list's first item, as the model has it. Returns 0, or -EFAULT."""
    if not isinstance(arg, list) or not arg:
        return -EFAULT
    arg[0] = val
    return 0


def init_sync_kiocb(iocb: kiocb, filp: file) -> None:
    """Prepare a read or write that its caller waits for."""
    iocb.ki_filp = filp
    iocb.ki_flags = (IOCB_DIRECT if filp.f_flags & O_DIRECT else 0) | (IOCB_DSYNC if filp.f_flags & O_DSYNC else 0)


def kiocb_set_rw_flags(iocb: kiocb, flags: int) -> int:
    """Let RWF_* flags of one read or write add to what its file says. Returns 0 or -EOPNOTSUPP."""
    if flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_NOWAIT):
        return -EOPNOTSUPP
    if flags & RWF_NOWAIT:
        if not iocb.ki_filp.f_mode & FMODE_NOWAIT:
            return -EOPNOTSUPP
        iocb.ki_flags |= IOCB_NOWAIT
    if flags & RWF_HIPRI:
        iocb.ki_flags |= IOCB_HIPRI
    if flags & RWF_DSYNC:
        iocb.ki_flags |= IOCB_DSYNC
    return 0


def is_sync_kiocb(iocb: kiocb) -> bool:
    return iocb.ki_complete is None


def new_sync_read(filp: file, iter: iov_iter, pos: int, flags: int = 0) -> int:
    """Read into a buffer from byte `pos` on, and wait. Returns how many bytes, or -errno. (RWF_* flags in C come with
    do_iter_readv_writev().)"""
    return _sync(filp, FMODE_READ, FMODE_PREAD, filp.f_op.read_iter, iter, pos, flags)


def new_sync_write(filp: file, iter: iov_iter, pos: int, flags: int = 0) -> int:
    """Write a buffer from byte `pos` on, and wait. Returns how many bytes, or -errno."""
    return _sync(filp, FMODE_WRITE, FMODE_PWRITE, filp.f_op.write_iter, iter, pos, flags)


def _sync(filp: file, mode: int, at: int, fn: Callable[..., int], iter: iov_iter, pos: int, flags: int) -> int:
    running.kernel.loop.rested()  # on the way back from the last call into the kernel, another task could go on
    if not filp.f_mode & at:
        return -ESPIPE
    if not filp.f_mode & mode:
        return -EBADF
    if fn is None:
        return -EINVAL
    iocb = kiocb()
    init_sync_kiocb(iocb, filp)
    iocb.ki_pos = pos
    return (flags and kiocb_set_rw_flags(iocb, flags)) or fn(iocb, iter)
