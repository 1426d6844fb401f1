"""Device nodes: the names below /dev, by which user space opens devices (fs/namei.c)."""

from __future__ import annotations

from collections.abc import Callable

from blkmodel.services.base.err import ERR_PTR
from blkmodel.services.base.errno import EEXIST, ENOENT
from blkmodel.services.base.stat import S_IFBLK
from blkmodel.services.base.symbols import linked
from blkmodel.services.devices.cdev import chrdev_open
from blkmodel.services.devices.device import devices, devtmpfs_node
from blkmodel.services.files.inode import inode, inode_init_always, iput
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class file_operations(Struct):
    """What the files of an inode can do."""

    SIZE = 256
    open: Callable[..., int] = NULL
    release: Callable[..., int] = NULL
    read_iter: Callable[..., int] = NULL
    write_iter: Callable[..., int] = NULL
    fsync: Callable[..., int] = NULL
    poll: Callable[..., int] = NULL
    unlocked_ioctl: Callable[..., int] = NULL
    fallocate: Callable[..., int] = NULL


def kern_path(path: str) -> inode:
    """The inode of a path, without a reference; or an error pointer. Only /dev has any."""
    return inode_at(path) if path.startswith("/dev/") else ERR_PTR(-ENOENT)


def inode_at(name: str) -> inode:
    """The inode of the device node of that name below /dev, without a reference; or an error pointer."""
    node = devices().nodes.get(name.removeprefix("/dev/"))
    if node is None:
        return ERR_PTR(-ENOENT)
    if node.inode is None:
        fops = linked.def_blk_fops if node.mode == S_IFBLK else def_chr_fops
        node.inode = inode(i_mode=node.mode, i_rdev=node.rdev, i_fop=fops)
        inode_init_always(None, node.inode)
    return node.inode


def mknod(path: str, mode: int, dev: int) -> int:
    """Make the node of a device: `mode` is its kind. Returns 0, or -EEXIST for a name that is taken."""
    name = path.removeprefix("/dev/")
    if name in devices().nodes:
        return -EEXIST
    devices().nodes[name] = devtmpfs_node(name, dev, mode)
    return 0


def unlink(path: str) -> int:
    """Remove a node. Whoever opened it keeps the device open. Returns 0 or -ENOENT."""
    node = devices().nodes.pop(path.removeprefix("/dev/"), None)
    if node is None:
        return -ENOENT
    iput(node.inode)
    return 0


def_chr_fops = file_operations(open=chrdev_open)
