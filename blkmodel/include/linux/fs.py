"""Inodes, files and block devices as a file system sees them, as far as opening a disk needs."""

from dataclasses import field
from typing import Any

from blkmodel.services.base.err import ERR_PTR, IS_ERR
from blkmodel.services.base.errno import EBADF, EEXIST, ENOENT, ENOTTY, EOPNOTSUPP
from blkmodel.services.base.kdev_t import MAJOR
from blkmodel.services.base.stat import S_IFBLK, S_IFMT
from blkmodel.services.data.list import list_head
from blkmodel.services.devices.backing_dev import noop_backing_dev_info
from blkmodel.services.devices.device import devices, devtmpfs_node
from blkmodel.services.tasks.rcupdate import call_rcu
from blkmodel.sim import statics
from blkmodel.sim.memory import PAGE_SIZE
from blkmodel.sim.structure import Struct, struct

FMODE_READ, FMODE_WRITE, FMODE_NDELAY, FMODE_EXCL = 0x1, 0x2, 0x40, 0x80
FMODE_WRITE_IOCTL, FMODE_NOWAIT = 0x100, 0x8000000
O_ACCMODE, O_RDONLY, O_WRONLY, O_RDWR, O_EXCL, O_NDELAY = 0o3, 0, 1, 2, 0o200, 0o4000
O_DSYNC, O_DIRECT, O_LARGEFILE = 0o10000, 0o40000, 0o100000
BLKDISCARD, BLKSECDISCARD, BLKZEROOUT = 0x1277, 0x127D, 0x127F
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_NO_HIDE_STALE, FALLOC_FL_ZERO_RANGE = 0x01, 0x02, 0x04, 0x10
IOCB_DIRECT, IOCB_DSYNC, IOCB_HIPRI, IOCB_NOWAIT = 1 << 2, 1 << 4, 1 << 3, 1 << 7
RWF_HIPRI, RWF_DSYNC, RWF_NOWAIT = 1 << 0, 1 << 1, 1 << 3
EPOLLIN = 0x1
I_DIRTY_SYNC, I_DIRTY_DATASYNC, I_DIRTY_PAGES, I_NEW, I_FREEING = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
I_DIRTY = I_DIRTY_SYNC | I_DIRTY_DATASYNC | I_DIRTY_PAGES


@struct
class address_space_operations(Struct):
    """How the pages of a mapping are read, written back and let go; None where that is not done."""

    SIZE = 168
    readpage: Any = None
    writepage: Any = None
    releasepage: Any = None
    direct_IO: Any = None


@struct
class super_operations(Struct):
    """How a file system makes and ends inodes."""

    SIZE = 184
    alloc_inode: Any = None
    free_inode: Any = None
    evict_inode: Any = None


@struct
class file_operations(Struct):
    """What the files of an inode can do."""

    SIZE = 256
    open: Any = None
    release: Any = None
    llseek: Any = None
    read_iter: Any = None
    write_iter: Any = None
    iopoll: Any = None
    fsync: Any = None
    poll: Any = None
    unlocked_ioctl: Any = None
    fallocate: Any = None


@struct
class super_block(Struct):
    """A mounted file system."""

    SIZE = 1536
    s_op: Any = None


@struct
class address_space(Struct):
    """The page cache of an inode: `pages` by their index, nrpages of them."""

    SIZE = 168
    host: Any = None
    nrpages: int = 0
    a_ops: Any = None
    pages: Any = field(default_factory=dict)


@struct
class inode(Struct):
    """A file, whatever its names. i_count references are held; while it is hashed others find it. For a device node,
    i_rdev is the device's number, and i_bdev or i_cdev the block or character device, once it was opened.

    _hash is where it is hashed, or None; _owner is the structure that embeds it.
    """

    SIZE = 584
    i_mode: int = 0
    i_rdev: int = 0
    i_bdev: Any = None
    i_cdev: Any = None
    i_size: int = 0
    i_blkbits: int = 0
    i_state: int = 0
    i_count: int = 0
    i_sb: Any = None
    i_mapping: Any = None
    i_data: Any = field(default_factory=address_space)
    i_fop: Any = None
    _hash: Any = None
    _owner: Any = None


@struct
class block_device(Struct):
    """A disk or partition that is, or may be, open. Its pages are cached on bd_inode.

    bd_openers count those who have it open; while there are any, bd_disk, bd_part and bd_contains (the whole disk's)
    are set. bd_holder is who has it for itself, bd_holders times; bd_claiming who is about to. bd_invalidated: the
    next open scans for partitions.
    """

    bd_dev: int = 0
    bd_openers: int = 0
    bd_inode: Any = None
    bd_super: Any = None
    bd_claiming: Any = None
    bd_holder: Any = None
    bd_holders: int = 0
    bd_write_holder: bool = False
    bd_holder_disks: Any = field(default_factory=list_head)
    bd_contains: Any = None
    bd_block_size: int = 0
    bd_partno: int = 0
    bd_part: Any = None
    bd_part_count: int = 0
    bd_invalidated: int = 0
    bd_disk: Any = None
    bd_queue: Any = None
    bd_bdi: Any = field(default_factory=noop_backing_dev_info)
    bd_list: Any = None
    bd_fsfreeze_count: int = 0


@struct
class file(Struct):
    """An open file."""

    SIZE = 256
    f_inode: Any = None
    f_mapping: Any = None
    f_op: Any = None
    f_flags: int = 0
    f_mode: int = 0
    private_data: Any = None


@struct
class kiocb(Struct):
    """One read or write: where (ki_pos), how (ki_flags) and, if nobody waits for it, whom to call: ki_complete(iocb,
    ret, ret2). ki_cookie is what to poll for."""

    SIZE = 48
    ki_filp: Any = None
    ki_pos: int = 0
    ki_complete: Any = None
    private: Any = None
    ki_flags: int = 0
    ki_hint: int = 0
    ki_ioprio: int = 0
    ki_cookie: int = 0


@statics
class inode_hashtable:
    """Inodes by (file system, hash value). Those of device nodes are on no such list."""

    def __init__(self):
        self.chains = {}


def I_BDEV(of):
    """The block device that an inode of the block devices' own file system is part of."""
    return of._owner.bdev


def i_size_read(of):
    return of.i_size


def i_size_write(of, size):
    of.i_size = size


def i_blocksize(of):
    return 1 << of.i_blkbits


def blksize_bits(size):
    return size.bit_length() - 1


def inode_init_always(sb, of):
    """Make a zeroed inode one of a file system."""
    of.i_sb = sb
    of.i_count = 1
    of.i_data.host = of
    of.i_mapping = of.i_data


def find_inode(sb, hashval, test, data):
    """A hashed inode for which test(inode, data) holds; None where there is none."""
    for found in inode_hashtable().chains.get((sb, hashval), ()):
        if test(found, data):
            return found
    return None


def iget5_locked(sb, hashval, test, set, data):
    """Find an inode and take a reference, or make one that set(inode, data) prepares; I_NEW then says that its caller
    is to fill it. None on failure."""
    found = find_inode(sb, hashval, test, data)
    if found is not None:
        found.i_count += 1
        return found
    made = sb.s_op.alloc_inode(sb)
    if made is None:
        return None
    inode_init_always(sb, made)
    made.i_blkbits = PAGE_SIZE.bit_length() - 1
    if set(made, data):
        _destroy(made)
        return None
    made.i_state = I_NEW
    made._hash = (sb, hashval)
    inode_hashtable().chains.setdefault(made._hash, []).insert(0, made)
    return made


def ilookup5(sb, hashval, test, data):
    """Find an inode and take a reference; None where there is none."""
    return igrab(find_inode(sb, hashval, test, data))


def igrab(of):
    if of is not None:
        of.i_count += 1
    return of


ihold = igrab


def unlock_new_inode(of):
    of.i_state &= ~I_NEW


def inode_unhashed(of):
    return of._hash is None


def remove_inode_hash(of):
    """Let nobody find the inode any more."""
    if of._hash is not None:
        chain = inode_hashtable().chains[of._hash]
        chain.remove(of)
        if not chain:
            del inode_hashtable().chains[of._hash]
        of._hash = None


def iput(of):
    """Drop a reference; an inode that nobody has is not kept."""
    if of is None:
        return
    assert of.i_count > 0, "an inode was put too often"
    of.i_count -= 1
    if of.i_count == 0:
        _evict(of)


def _evict(of):
    from blkmodel.fs import block_dev
    of.i_state |= I_FREEING
    if of.i_sb is not None:
        of.i_sb.s_op.evict_inode(of)
    if of.i_mode & S_IFMT == S_IFBLK and of.i_bdev is not None:
        block_dev.bd_forget(of)
    remove_inode_hash(of)
    if of.i_sb is not None:
        _destroy(of)


def _destroy(of):
    call_rcu(lambda: of.i_sb.s_op.free_inode(of))


def clear_inode(of):
    """Nothing is cached of the inode any more."""
    assert of.i_data.nrpages == 0, "an inode ends while pages of it are cached"


def sb_is_blkdev_sb(sb):
    """Whether it is the block devices' own file system."""
    return sb is not None


def write_inode_now(of, sync):
    """Write an inode back. What is written of a block device's is its pages, which was done before."""
    of.i_state &= ~I_DIRTY
    return 0


def kern_path(path):
    """The inode of a path, without a reference; or an error pointer. Only /dev has any."""
    return device_node_inode(path) if path.startswith("/dev/") else ERR_PTR(-ENOENT)


def device_node_inode(name):
    """The inode of the device node of that name below /dev, without a reference; or an error pointer."""
    from blkmodel.fs import block_dev
    node = devices().nodes.get(name.removeprefix("/dev/"))
    if node is None:
        return ERR_PTR(-ENOENT)
    if node.inode is None:
        fops = block_dev.def_blk_fops if node.mode == S_IFBLK else def_chr_fops
        node.inode = inode(i_mode=node.mode, i_rdev=node.rdev, i_fop=fops)
        inode_init_always(None, node.inode)
    return node.inode


def mknod(path, mode, dev):
    """Make the node of a device: `mode` is its kind. Returns 0, or -EEXIST for a name that is taken."""
    name = path.removeprefix("/dev/")
    if name in devices().nodes:
        return -EEXIST
    devices().nodes[name] = devtmpfs_node(name, dev, mode)
    return 0


def unlink(path):
    """Remove a node. Whoever opened it keeps the device open. Returns 0 or -ENOENT."""
    node = devices().nodes.pop(path.removeprefix("/dev/"), None)
    if node is None:
        return -ENOENT
    iput(node.inode)
    return 0


def chrdev_open(inode, filp):
    """Open the node of a character device. Returns 0 or -errno."""
    from blkmodel.services.devices.cdev import cdev_open
    from blkmodel.services.devices.miscdevice import MISC_MAJOR, misc_open
    return misc_open(inode, filp) if MAJOR(inode.i_rdev) == MISC_MAJOR else cdev_open(inode, filp)


def_chr_fops = file_operations(open=chrdev_open)


def filp_open(name, flags):
    """Open the device node of that name, with O_* flags. Returns the file, or an error pointer.

    The node remembers the block device, and holds it, until it is removed.
    """
    found = device_node_inode(name)
    if IS_ERR(found):
        return found
    filp = file(f_inode=igrab(found), f_mapping=found.i_mapping, f_op=found.i_fop, f_flags=flags,
                f_mode=(flags + 1) & O_ACCMODE)
    error = filp.f_op.open(found, filp)
    if error:
        iput(filp.f_inode)
        return ERR_PTR(error)
    return filp


def filp_close(filp):
    """Close a file."""
    filp.f_op.release(filp.f_inode, filp)
    iput(filp.f_inode)
    return 0


def vfs_ioctl(filp, cmd, arg):
    """Ask the driver of an open file for something. Returns what it says, or -ENOTTY where it does not do that."""
    return filp.f_op.unlocked_ioctl(filp, cmd, arg) if filp.f_op.unlocked_ioctl is not None else -ENOTTY


def init_sync_kiocb(iocb, filp):
    """Prepare a read or write that its caller waits for."""
    iocb.ki_filp = filp
    iocb.ki_flags = (IOCB_DIRECT if filp.f_flags & O_DIRECT else 0) | (IOCB_DSYNC if filp.f_flags & O_DSYNC else 0)


def kiocb_set_rw_flags(iocb, flags):
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


def is_sync_kiocb(iocb):
    return iocb.ki_complete is None


def new_sync_read(filp, iter, pos, flags=0):
    """Read into a buffer from byte `pos` on, and wait. Returns how many bytes, or -errno. (RWF_* flags in C come with
    do_iter_readv_writev().)"""
    if filp.f_op.read_iter is None or not filp.f_mode & FMODE_READ:
        return -EBADF
    iocb = kiocb()
    init_sync_kiocb(iocb, filp)
    iocb.ki_pos = pos
    return kiocb_set_rw_flags(iocb, flags) or filp.f_op.read_iter(iocb, iter)


def new_sync_write(filp, iter, pos, flags=0):
    """Write a buffer from byte `pos` on, and wait. Returns how many bytes, or -errno."""
    if filp.f_op.write_iter is None or not filp.f_mode & FMODE_WRITE:
        return -EBADF
    iocb = kiocb()
    init_sync_kiocb(iocb, filp)
    iocb.ki_pos = pos
    return kiocb_set_rw_flags(iocb, flags) or filp.f_op.write_iter(iocb, iter)
