"""What a user does to the machine: load null_blk, look at a disk, read and write it, choose its scheduler.

Each function is one command of a process, run to its end with everything that it sets off. It returns what the
command brings, or raises KernelError when the kernel refuses. Steps of `blkmodel-calls/1` recordings run through
run_step().
"""

from blkmodel.block import elevator
from blkmodel.drivers.block import null_blk_main
from blkmodel.errors import KernelError, NotModelled
from blkmodel.include.linux.blkdev import READ, WRITE
from blkmodel.include.linux.configfs import configfs_mkdir, configfs_rmdir, configfs_write
from blkmodel.include.linux.device import dev_name, devices
from blkmodel.include.linux.err import IS_ERR, PTR_ERR
from blkmodel.include.linux.errno import EEXIST, ENOENT, ENOMEM
from blkmodel.include.linux.fs import (
    O_DIRECT,
    O_RDONLY,
    O_WRONLY,
    filp_close,
    filp_open,
    new_sync_read,
    new_sync_write,
)
from blkmodel.include.linux.genhd import dev_to_disk
from blkmodel.include.linux.moduleparam import parse_args
from blkmodel.include.linux.uio import iov_iter, iov_iter_init, map_user_buffer, unmap_user_buffer
from blkmodel.sim import forget, statics, this
from blkmodel.sim.memory import PAGE_SIZE


@statics
class modules:
    """The names of the modules that are loaded."""

    def __init__(self):
        self.loaded = set()


def null_blk_load(**params):
    """Load null_blk: `insmod null_blk submit_queues=4 …`. Its disks are nullb0 and so on.

    Parameters are those of the module; a value is a number, a truth value or the text itself. KernelError says why
    the kernel did not load it; a parameter that there is not is a ValueError, and changes nothing.
    """
    known = [param.name for param in null_blk_main.module_params]
    for name in params:
        if name not in known:
            raise ValueError(f"null_blk has no parameter {name!r}; it has {', '.join(sorted(known))}")
    args = [(name, str(int(value)) if isinstance(value, bool | int) else str(value))
            for name, value in params.items()]
    _command("insmod", " ".join(["insmod null_blk", *(f"{name}={text}" for name, text in args)]), _insmod, args)


def _insmod(args):
    if "null_blk" in modules().loaded:
        return -EEXIST
    forget(null_blk_main.variables)
    error = parse_args("null_blk", args, null_blk_main.module_params) or null_blk_main.null_init()
    if error:
        forget(null_blk_main.variables)
    else:
        modules().loaded.add("null_blk")
    return error


def null_blk_unload():
    """Unload null_blk; its disks are gone then. Those that configfs made have to be removed first."""
    _command("rmmod", "rmmod null_blk", _rmmod)


def _rmmod():
    if "null_blk" not in modules().loaded:
        return -ENOENT
    null_blk_main.null_exit()
    forget(null_blk_main.variables)
    modules().loaded.remove("null_blk")
    return 0


def null_blk_create(name, **attributes):
    """Make one more null_blk disk, through configfs; null_blk must be loaded. Returns the disk's name.

    Attributes are those in the device's directory, such as memory_backed=1; they begin as the module's parameters.
    """
    directory = f"nullb/{name}"
    _command("mkdir", f"mkdir {directory}", configfs_mkdir, directory)
    try:
        for file, value in {**attributes, "power": 1}.items():
            text = str(int(value)) if isinstance(value, bool | int) else str(value)
            _command("sh", f"echo {text} > {directory}/{file}", configfs_write, f"{directory}/{file}", text)
    except KernelError:
        _command("rmdir", f"rmdir {directory}", configfs_rmdir, directory)
        raise
    newest = null_blk_main.variables().nullb_list
    return [device.disk_name for device in newest][-1]


def null_blk_remove(name):
    """Remove a null_blk disk that configfs made, with its data."""
    _command("rmdir", f"rmdir nullb/{name}", configfs_rmdir, f"nullb/{name}")


def disk(name):
    """The gendisk of that name (`"nullb0"`). A name that there is not is a KeyError, which says what there is."""
    there = {dev_name(dev): dev_to_disk(dev) for dev in devices().of_class.get("block", ())}
    if name not in there:
        raise KeyError(f"there is no disk {name!r}; there is {', '.join(sorted(there)) or 'none'}")
    return there[name]


def scheduler(name):
    """The name of a disk's scheduler, such as `"mq-deadline"` or `"none"`."""
    words = this().task("cat", elevator.elv_iosched_show, disk(name).queue).split()
    return next((word.strip("[]") for word in words if word.startswith("[")), words[0])


def set_scheduler(name, to):
    """Change a disk's scheduler: `echo none > /sys/block/nullb0/queue/scheduler`."""
    _command("sh", f"echo {to} > /sys/block/{name}/queue/scheduler", elevator.elv_iosched_store, disk(name).queue, to,
             len(to))


def io(disk, op, offset, length, cpu=0, page_runs=None, data=None):
    """Read or write a disk past the page cache: one O_DIRECT pread or pwrite by a fresh process on that CPU.

    `disk` is a name. offset, length: bytes. page_runs: how many pages lie side by side in each piece of its buffer
    (by default none do). data: the bytes to write; by default sector_numbers(). Returns the bytes that were read, or
    written; fewer than `length` at the end of the disk.
    """
    if disk not in devices().nodes:
        raise KeyError(f"there is no disk {disk!r}; there is {', '.join(sorted(devices().nodes)) or 'none'}")
    if op not in ("read", "write"):
        raise ValueError(f"op={op!r}: an I/O is a read or write")
    pages = -(-length // PAGE_SIZE)
    page_runs = [1] * pages if page_runs is None else page_runs
    if sum(page_runs) < pages:
        raise ValueError(f"page_runs={page_runs}: {length} bytes need {pages} pages")
    if op == "write":
        data = sector_numbers(offset, length) if data is None else bytes(data)
        if len(data) != length:
            raise ValueError(f"data: {len(data)} bytes, where {length} are to be written")
    line = f"{op} {length} bytes of {disk} at {offset}"
    return _command("dio", line, _dio, disk, op, offset, length, page_runs, data, cpu=cpu)


def _dio(disk, op, offset, length, page_runs, data):
    buffer = map_user_buffer(page_runs)
    if buffer is None:
        return -ENOMEM
    result = _transfer(disk, op, offset, length, buffer, data)
    if result >= 0:
        result = buffer.read(0, result)
    unmap_user_buffer(buffer)
    return result


def _transfer(disk, op, offset, length, buffer, data):
    """Open the disk, read or write it, and close it. Returns the bytes moved, or -errno."""
    filp = filp_open(disk, O_DIRECT | (O_RDONLY if op == "read" else O_WRONLY))
    if IS_ERR(filp):
        return PTR_ERR(filp)
    moved = iov_iter()
    if op == "read":
        iov_iter_init(moved, READ, buffer, 0, length)
        result = new_sync_read(filp, moved, offset)
    else:
        buffer.write(0, data)
        iov_iter_init(moved, WRITE, buffer, 0, length)
        result = new_sync_write(filp, moved, offset)
    filp_close(filp)
    return result


def sector_numbers(offset, length):
    """Bytes to write where nobody says which: each 8 of them are the number of the sector that they are in."""
    first = offset // 512
    text = b"".join(number.to_bytes(8, "little") * 64 for number in range(first, (offset + length - 1) // 512 + 1))
    return text[offset - first * 512:][:length]


def run_step(step):
    """Do what a step of a `blkmodel-calls/1` recording says. NotModelled, with its name, where the model can't."""
    name, *arguments = step
    if name == "null_blk.load":
        return null_blk_load(**arguments[0])
    if name == "null_blk.unload":
        return null_blk_unload()
    if name == "io":
        return io(**arguments[0])
    raise NotModelled(name)


def _command(task, line, fn, *args, cpu=None):
    """Run fn(*args) as a process; return what it returns, unless that is -errno: that becomes a KernelError."""
    kernel = this()
    before = len(kernel.log)
    result = kernel.task(task, fn, *args, cpu=cpu)
    if isinstance(result, int) and result < 0:
        raise KernelError(result, line, kernel.log[before:])
    return result
