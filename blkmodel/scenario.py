"""What a user does to the machine: load drivers, plug controllers in, look at a disk, read and write it, choose its
scheduler, map it.

Each function is one command of a process, run to its end with everything that it sets off. It returns what the
command brings, or raises KernelError when the kernel refuses. Steps of `blkmodel-calls/1` recordings run through
run_step().
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

from blkmodel.block import blk_sysfs, elevator
from blkmodel.device import Controller, Namespace, Service, faults_of, plug_in, unplug
from blkmodel.drivers.block import null_blk_main
from blkmodel.drivers.md import (dm, dm_delay, dm_flakey, dm_ioctl, dm_mpath, dm_path_selector, dm_round_robin, dm_rq,
    dm_service_time, dm_target, dm_uevent, dm_zero)
from blkmodel.drivers.nvme.host import core as nvme_core, pci as nvme_pci
from blkmodel.errors import KernelError, NotModelled
from blkmodel.fs import block_dev
from blkmodel.fs.aio import io_getevents, io_submit, iocb, kioctx
from blkmodel.include.linux.blkdev import READ, WRITE, disk_to_dev, gendisk, get_capacity
from blkmodel.include.linux.fs import BLKDISCARD, BLKRRPART, BLKZEROOUT
from blkmodel.services import (EBUSY, EEXIST, ENODEV, ENOENT, ENOMEM, IS_ERR, O_DIRECT, O_RDONLY, O_RDWR, O_WRONLY,
    PTR_ERR, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, S_IRUGO, S_IWUGO, cache_pages, configfs_mkdir, configfs_rmdir,
    configfs_write_file, cpu_down, cpu_up, debugfs, dev_get_drvdata, dev_name, device as struct_device,
    device_release_driver, devices, fault_attr, filp_close, filp_open, invalidate_mapping_pages, iov_iter,
    iov_iter_init, irq_desc_tree, kernfs_fop_open, kobject, map_user_buffer, msleep, new_sync_read, new_sync_write,
    nvme_fault_inject as fault_of_nvme, parse_args, pci_bus_add_device, pci_dev, put_page, to_pci_dev,
    unmap_user_buffer, vfs_fsync, vfs_ioctl, wait_event, wait_queue_head, wake_up, whole_disks, write_irq_affinity)
from blkmodel.sim import PAGE_SIZE, HungTask, forget, statics, this
from blkmodel.userland import dmsetup, look, lvm
from blkmodel.userland.fio import run_workload as run_workload
from blkmodel.userland.partitions import TWO, parsed, tables
from blkmodel.userland.tools import known

VECTORS = 129
"""The interrupt vectors of a controller where nobody says: as many as a data-centre disk has, for 128 I/O queues."""
MOST_LATENCY = 1_000_000  # milliseconds
MOST_SECTORS = 1 << 54  # of 512 bytes: as many as a file's offset can reach
Words = list[tuple[str, str]]
"""Parameters of a module: the name and the text of each."""


class Asked(NamedTuple):
    """What somebody wants to read or write, checked. data: what is to be written; flags: RWF_* bits."""

    op: str
    offset: int
    length: int
    page_runs: list[int]
    data: bytes
    flags: int


class Described(NamedTuple):
    """What a controller is to be like: the table on its disk, nanoseconds that a command takes, sectors of 512 bytes
    that can't be read, and that can't be written."""

    partitions: str | None = None
    latency: int = 0
    bad_read: frozenset[int] = frozenset()
    bad_write: frozenset[int] = frozenset()


class modules(statics):
    """The names of the modules that are loaded, and of those that are coming or going, with who waits for that; the
    kernel files of those that this machine has not at all; what was said of controllers that are still to come; and
    how many nanoseconds those take for a command where nobody says (and a hundredth of that, at least, lies between the
    ends of two)."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.changing: set[str] = set()
        self.wq = wait_queue_head()
        self.missing: set[str] = set()
        self.described: dict[str, Described] = {}
        self.latency = 0


def null_blk_load(**params: Any) -> None:
    """Load null_blk: `insmod null_blk submit_queues=4 …`. Its disks are nullb0 and so on.

    Parameters are those of the module; a value is a number, a truth value or the text itself. KernelError says why
    the kernel did not load it; a parameter that there is not is a ValueError, and changes nothing.
    """
    _load("null_blk", "insmod null_blk", params)


def _words(params: dict[str, Any]) -> Words:
    return [(name, str(int(value)) if isinstance(value, bool | int) else str(value)) for name, value in params.items()]


class Module(NamedTuple):
    """A module of the kernel: what begins and what ends it, its parameters, and the mirror's files that have its
    variables. Its name is the kernel file where it has targets of device mapper."""

    name: str
    init: Callable[[], int]
    exit: Callable[[], None]
    parameters: Sequence[Any] = ()
    files: Sequence[Any] = ()


def _chain(name: str) -> list[Module]:
    """The modules that are loaded with null_blk, nvme or dm_mod, in order, as far as this machine has them."""
    if name == "null_blk":
        return [Module(name, null_blk_main.null_init, null_blk_main.null_exit, null_blk_main.module_params,
                       [null_blk_main])]
    if name == "nvme":
        return [Module("nvme_core", nvme_core.nvme_core_init, nvme_core.nvme_core_exit, nvme_core.parameters,
                       [nvme_core]),
                Module(name, nvme_pci.nvme_init, nvme_pci.nvme_exit, nvme_pci.parameters, [nvme_pci])]
    return [Module(name, dm.dm_init, dm.dm_exit, (*dm.module_params, *dm_rq.module_params), DM_FILES),
            *(Module(file, *both) for file, both in DM_TARGETS.items() if file not in modules().missing)]


def _must_be_known(module: str, params: Iterable[str], others: Iterable[str] = ()) -> None:
    there = {param.name for each in _chain(module) for param in each.parameters}
    for name in sorted(set(params) - there):
        if name in known(f"{module} parameters"):
            raise NotModelled(f"{module}'s parameter {name}")
        raise ValueError(f"{module} has no parameter {name!r}; it has {', '.join(sorted({*there, *others}))}")


def _load(name: str, command: str, params: dict[str, Any]) -> None:
    """Load a module, and those that are loaded with it, each with those parameters that are its own."""
    _must_be_known(name, params)
    chain, words = _chain(name), _words(params)
    args = [[word for word in words if word[0] in {param.name for param in each.parameters}] for each in chain]
    line = " ".join([command, *(f"{key}={text}" for own in args for key, text in own)])
    _command(command.split()[0], line, _init, name, chain, args)


def _init(name: str, chain: list[Module], args: list[Words]) -> int:
    """Begin modules; where one fails, end those before it. Of NVMe's, once loaded, the parameters are changed."""
    wait_event(modules().wq, lambda: name not in modules().changing, "a module that is coming or going")
    if name in modules().loaded:
        errors = (parse_args(each.name, own, each.parameters) for each, own in zip(chain, args, strict=True))
        return next(filter(None, errors), 0) if name == "nvme" else -EEXIST
    _exit(chain, 0)
    with _changing(name):
        for begun, (each, own) in enumerate(zip(chain, args, strict=True)):
            if error := parse_args(each.name, own, each.parameters) or each.init():
                _exit(chain, begun)
                return error
        modules().loaded.add(name)
    return 0


@contextmanager
def _changing(name: str) -> Iterator[None]:
    """While a module is coming or going; then who waits for that is woken."""
    modules().changing.add(name)
    try:
        yield
    except HungTask:
        name = ""  # whoever hangs is still at it
        raise
    finally:
        modules().changing.discard(name)
        wake_up(modules().wq)


def _exit(chain: list[Module], begun: int) -> None:
    """End the modules that have begun, the last first, and let the variables of all begin with their defaults."""
    for each in reversed(chain[:begun]):
        each.exit()
    for file in (file for each in chain for file in each.files):
        forget(file.variables)


def null_blk_unload() -> None:
    """Unload null_blk; its disks are gone then. EBUSY while one is open, or while there are any that configfs made."""
    _command("rmmod", "rmmod null_blk", _rmmod, "null_blk")


def _rmmod(name: str) -> int:
    if name not in modules().loaded | modules().changing:
        return -ENOENT
    held, fops = {"null_blk": (null_blk_main.variables().nullb_subsys.items, null_blk_main.null_fops),
                  "nvme": ((), nvme_core.nvme_fops), "dm_mod": (dm.variables()._minor_idr.held, dm.dm_blk_dops)}[name]
    if held or name in modules().changing or any(bdev.bd_openers and bdev.bd_disk.fops is fops
                                                 for bdev in block_dev.variables().all_bdevs):
        return -EBUSY
    chain = _chain(name)
    with _changing(name):
        _exit(chain, len(chain))
        modules().loaded.remove(name)
    return 0


# The modules with targets, by kernel file and in the order in which they are loaded: what begins each, and what ends it
DM_TARGETS = {"drivers/md/dm-mpath.c": (dm_mpath.dm_multipath_init, dm_mpath.dm_multipath_exit),
              "drivers/md/dm-round-robin.c": (dm_round_robin.dm_rr_init, dm_round_robin.dm_rr_exit),
              "drivers/md/dm-service-time.c": (dm_service_time.dm_st_init, dm_service_time.dm_st_exit),
              "drivers/md/dm-zero.c": (dm_zero.dm_zero_init, dm_zero.dm_zero_exit),
              "drivers/md/dm-delay.c": (dm_delay.dm_delay_init, dm_delay.dm_delay_exit),
              "drivers/md/dm-flakey.c": (dm_flakey.dm_flakey_init, dm_flakey.dm_flakey_exit)}
DM_FILES = (dm, dm_ioctl, dm_path_selector, dm_round_robin, dm_rq, dm_service_time, dm_target, dm_uevent)


def dm_load(**params: Any) -> None:
    """Load device mapper and the modules of its targets. The first dmsetup() does that by itself.

    Parameters are those of dm_mod, such as dm_mq_queue_depth. KernelError says why the kernel did not load it.
    """
    _load("dm_mod", "modprobe dm_mod", params)


def dm_unload() -> None:
    """Unload device mapper. EBUSY while there is any mapped device."""
    _command("rmmod", "modprobe -r dm_mod", _rmmod, "dm_mod")


def dmsetup_run(*words: str, stdin: str = "") -> dmsetup.Outcome:
    """Do `dmsetup WORDS…`, as a process. Returns what it leaves behind: exit, output, errors, ioctl, errno."""
    if "dm_mod" not in modules().loaded:
        dm_load()
    return dmsetup.run(words, stdin)


def lvm_run(*words: str) -> lvm.Outcome:
    """Do one of LVM's commands, as a process. Returns what it leaves behind: exit, output, errors, ioctls, errno."""
    if "dm_mod" not in modules().loaded:
        dm_load()
    return lvm.run(words)


def null_blk_create(name: str, **attributes: Any) -> str:
    """Make one more null_blk disk, through configfs; null_blk must be loaded. Returns the disk's name.

    Attributes are those in the device's directory, such as memory_backed=1; they begin as the module's parameters.
    """
    _no_bandwidth(attributes)
    _command("mkdir", f"mkdir nullb/{name}", configfs_mkdir, f"nullb/{name}")
    try:
        null_blk_configure(name, **attributes, power=1)
    except KernelError:
        null_blk_remove(name)
        raise
    return [device.disk_name for device in null_blk_main.variables().nullb_list][-1]


def null_blk_configure(name: str, **attributes: Any) -> None:
    """Make a null_blk device's directory in configfs, unless it is there, and write its files: `power=1` makes the
    disk, and later `badblocks=+16-23` makes sectors bad."""
    _no_bandwidth(attributes)
    directory = f"nullb/{name}"
    if name not in (null_blk_main.variables().nullb_subsys.items or ()):
        _command("mkdir", f"mkdir {directory}", configfs_mkdir, directory)
    for file, text in _words(attributes):
        _command("sh", f"echo {text} > {directory}/{file}", configfs_write_file, f"{directory}/{file}", text)


def _no_bandwidth(attributes: Iterable[str]) -> None:
    if "mbps" in attributes:
        raise NotModelled("null_blk's attribute mbps")


def null_blk_remove(name: str) -> None:
    """Remove a null_blk disk that configfs made, with its data."""
    _command("rmdir", f"rmdir nullb/{name}", configfs_rmdir, f"nullb/{name}")


def nvme_load(**params: Any) -> None:
    """Load the NVMe driver: `modprobe nvme poll_queues=2 …`. It takes over the controllers that are there.

    Parameters are those of the modules nvme and nvme_core. Where they are loaded, parameters are changed: what a
    controller's next reset looks at.
    """
    _load("nvme", "modprobe nvme", params)


NVME_MODULES = {"nvme_core": nvme_core.parameters, "nvme": nvme_pci.parameters}


def nvme_unload() -> None:
    """Unload the NVMe driver: it gives its controllers up, which stay on the bus. EBUSY while a disk is open."""
    _command("rmmod", "rmmod nvme nvme_core", _rmmod, "nvme")


def nvme_device(device: str, partitions: str | None = None, latency_ms: int = 0, bad_sectors_read: str = "",
                bad_sectors_write: str = "", slot: str = "") -> None:
    """Say what the controller that nvme_probe() will find is like.

    partitions: a table of two on its disk, "mbr" or "gpt". latency_ms: how long each command of an I/O queue takes.
    bad_sectors_read, bad_sectors_write: sectors of 512 bytes, with commas between them, at which it fails. slot:
    "hotplug" where it is below a port that can lose it, which all are in the model.
    """
    if partitions is not None:
        tables(partitions, TWO[-1][0] + TWO[-1][1] + 34, TWO)
    if not 0 <= latency_ms <= MOST_LATENCY:
        raise ValueError(f"latency_ms={latency_ms}: a command takes from 0 to {MOST_LATENCY} milliseconds")
    if slot not in ("", "hotplug"):
        raise ValueError(f"slot={slot!r}: it is hotplug, or not said")
    bad = (frozenset(map(int, filter(None, text.split(",")))) for text in (bad_sectors_read, bad_sectors_write))
    modules().described[device] = Described(partitions, latency_ms * 1_000_000, *bad)


CONTROLLER = {"max_ioqpairs": ("queue_pairs", 1, 65535), "vectors": ("vectors", 1, 2048), "mqes": ("mqes", 1, 65535),
              "mdts": ("mdts", 0, 20)} | {name: (name, 0, 1) for name in (
                  "dbbuf", "sgl", "write_cache", "dsm", "write_zeroes", "aborts")}
"""What can be said of a controller that is made: the word for it, the field of Controller, least and largest value."""


def nvme_probe(device: str | None = None, sectors: int = 131072, controller: Controller | None = None,
               node: int | None = None, faults: str = "", partitions: str | None = None, opened: bool = True,
               **params: Any) -> str:
    """Plug an NVMe controller in, on a NUMA node (the first), and wait until its disks can be opened.

    The controller is QEMU's, with VECTORS interrupt vectors and one namespace of so many sectors of 512 bytes, with a
    table of two partitions where that is asked for (`partitions`: "mbr" or "gpt"), but for what `params` say by the
    words of CONTROLLER; faults_of() reads what goes wrong with it. Or it is any that is given. The driver is loaded,
    with the other `params` as nvme_load() takes them. `opened`: whether somebody opens its disks at once, and closes
    them; before that their nodes have no block device. Returns the controller's name, which must be `device` where
    that is given. KernelError says why the driver gave the controller up; it is unplugged again then.
    """
    for word, (_, least, most) in {**CONTROLLER, "sectors": ("", 0, MOST_SECTORS)}.items():
        value = sectors if word == "sectors" else params.get(word, least)
        if not least <= value <= most:
            raise ValueError(f"{word}={value}: it is at least {least}, and at most {most}")
    described = {field: params.pop(word) for word, (field, _, _) in CONTROLLER.items() if word in params}
    broken = faults_of(faults)
    _must_be_known("nvme", params, CONTROLLER)
    written = tables(partitions, sectors, TWO) if partitions is not None else []
    nvme_load(**params)
    held = nvme_core.variables().nvme_instance_ida.held
    number = next(number for number in range(len(held) + 1) if number not in held)
    expected = f"nvme{number}"
    if device not in (None, expected):
        raise ValueError(f"device={device!r}: the next controller will be {expected!r}")
    kernel, before = this(), len(this().log)
    if controller is None:
        like = modules().described.pop(expected, Described())
        namespace = Namespace(sectors, bad_read=like.bad_read, bad_write=like.bad_write)
        if like.partitions:
            written = tables(like.partitions, sectors, TWO)
        for offset, data in written:
            namespace.write(offset, data, True)
        controller = Controller(**{"vectors": VECTORS} | described, serial=f"{number + 1:04}",
                                namespaces={1: namespace}, faults=broken,
                                service=Service(like.latency or modules().latency, apart=modules().latency // 100))
    pdev = plug_in(controller, node)
    kernel.task("pciehp", pci_bus_add_device, pdev)
    if pdev.dev.driver is None:
        kernel.task("pciehp", unplug, pdev)
        log = kernel.log[before:]
        raise KernelError(_why(log), "nvme_probe", log)
    for ns in nvme_controller(expected).ctrl.namespaces if opened else ():
        kernel.task("init", _with_open, ns.disk.disk_name, lambda filp: 0, O_RDONLY)  # as what waits for a disk does
    return expected


def nvme_service(device: str, service: Service) -> None:
    """From now on a controller takes that long for the commands of its I/O queues."""
    _pdev(device)._device.service = service


def nvme_unbind(device: str = "nvme0") -> None:
    """Take a controller from its driver: `echo 0000:00:04.0 > /sys/bus/pci/drivers/nvme/unbind`. It stays there."""
    dev = nvme_controller(device).ctrl.dev
    _command("sh", f"echo {dev_name(dev)} > /sys/bus/pci/drivers/nvme/unbind", device_release_driver, dev)


def nvme_pull_out(device: str = "nvme0", drained: bool = False) -> None:
    """Pull a controller out of its slot: it is gone from one moment to the next, and then the port tells the kernel;
    `drained`: as QEMU's does, once the time of what was under way is over."""
    pdev = _pdev(device)
    controller = pdev._device
    ends = [each.event.time for sq in controller.engine.sqs.values() for each in sq.running.values() if each.event]

    def notice() -> None:
        if drained and ends:
            msleep(-(-(max(ends) - this().now) // 1_000_000))
        this().printk("pcieport 0000:00:03.0: pciehp: Slot(1): Card not present")
        unplug(pdev)
    controller.unplug()
    _command("pciehp", f"{device} is pulled out", notice)


def slot_power(device: str = "nvme0", value: object = 0) -> None:
    """Switch a slot's power off, in an orderly way: `echo 0 > /sys/bus/pci/slots/1/power`."""
    if str(value) != "0":
        raise NotModelled("pci.slot_power's value other than 0")
    _command("pciehp", "echo 0 > /sys/bus/pci/slots/1/power", unplug, _pdev(device))


def _pdev(device: str) -> pci_dev:
    """A controller as it is on the bus."""
    return to_pci_dev(nvme_controller(device).ctrl.dev)


def nvme_mask_interrupt(device: str, vector: int) -> None:
    """Mask a vector in the controller's table behind the kernel's back: its interrupts get lost."""
    controller = _pdev(device)._device
    if not 0 <= vector < controller.vectors:
        raise ValueError(f"vector={vector}: {device} has 0 to {controller.vectors - 1}")
    controller.mask(vector, True)


def nvme_fault_inject(disk: str, status: object, dont_retry: bool = True, probability: int = 0,
                      times: int = 1) -> None:
    """Let commands of a disk end with a status in place of the controller's: debugfs DISK/fault_inject/.

    status: a number, or its hexadecimal text; bits 8 to 10 are its type. dont_retry: with the bit that says so.
    probability: in how many of 100 cases; times: how often in all (-1: for ever).
    """
    try:
        number = int(str(status), 16 if isinstance(status, str) else 0)
    except ValueError:
        number = -1
    if disk not in whole_disks() or not disk.startswith("nvme"):
        raise KeyError(f"there is no NVMe disk {disk!r}")
    if not 0 <= number <= 0x7FF:
        raise ValueError(f"status={status}: it is a number from 0x0 to 0x7ff")
    debugfs().fault_inject[disk] = fault_of_nvme(fault_attr(probability, times=times), number, bool(dont_retry))


def fail_io_timeout(probability: int = 0, times: int = 1) -> None:
    """Let completions get lost, of disks whose io-timeout-fail is 1: debugfs fail_io_timeout/. probability: in how many
    of 100 cases; times: how often in all (-1: for ever)."""
    debugfs().fail_io_timeout = fault_attr(probability, times=times)


def module_parameter(module: str, name: str, value: object) -> None:
    """Change a parameter of a loaded module: `echo 0 > /sys/module/nvme/parameters/poll_queues`."""
    if module not in NVME_MODULES:
        raise NotModelled(f"parameters of {module} that change")
    _must_be_known("nvme", [name])
    kp = _one_of({each.name: each for each in NVME_MODULES[module]}, name, f"{module} has no parameter")
    (_, text), = _words({name: value})
    _command("sh", f"echo {text} > /sys/module/{module}/parameters/{name}",
             lambda: kp.set(text, kp) if "nvme" in modules().loaded else -ENOENT)


def cpu_offline(cpu: int) -> None:
    """Take a CPU offline: `echo 0 > /sys/devices/system/cpu/cpu1/online`."""
    _command("sh", f"echo 0 > /sys/devices/system/cpu/cpu{cpu}/online", cpu_down, cpu)


def cpu_online(cpu: int) -> None:
    """Bring a CPU online again: `echo 1 > /sys/devices/system/cpu/cpu1/online`."""
    _command("sh", f"echo 1 > /sys/devices/system/cpu/cpu{cpu}/online", cpu_up, cpu)


def _why(log: list[str]) -> int:
    """The negative errno that the driver gave a controller up with, as it says in the log."""
    found = re.findall(r"(?:failed with error|failure status:) (-\d+)", "\n".join(log))
    return int(found[-1]) if found else -ENODEV


def nvme_remove(device: str = "nvme0") -> None:
    """Unplug a controller in an orderly way: `echo 1 > /sys/class/nvme/nvme0/device/remove`. Its disks go with it."""
    _command("init", f"echo 1 > /sys/class/nvme/{device}/device/remove", unplug, _pdev(device))


def nvme_controller(name: str = "nvme0") -> nvme_pci.nvme_dev:
    """The nvme_dev of that name. A name that there is not is a KeyError, which says what there is."""
    there = {dev_name(dev): dev for dev in devices().of_class.get("nvme", ())}
    return nvme_pci.to_nvme_dev(dev_get_drvdata(_one_of(there, name, "there is no controller")))


def nvme_file(device: str, file: str) -> str:
    """What a file of a controller says: `cat /sys/class/nvme/nvme0/state`."""
    dev, attr = _nvme_file(device, file)
    return _cat(f"/sys/class/nvme/{device}/{file}", attr, attr.show, dev)


def set_nvme_file(device: str, file: str, value: object) -> None:
    """Write a file of a controller: `echo 1 > /sys/class/nvme/nvme0/reset_controller`."""
    dev, attr = _nvme_file(device, file)
    _echo(value, f"/sys/class/nvme/{device}/{file}", attr, attr.store, dev)


def _nvme_file(device: str, file: str) -> tuple[struct_device, Any]:
    """The device and the attribute of a controller's file."""
    dev = nvme_controller(device).ctrl.device
    return dev, _one_of(dev.kobj.attrs, file, f"{device} has no file", "it has")


def _one_of(there: Mapping[Any, Any], name: object, lacks: str, has: str = "there is") -> Any:
    """What has that name. A name that there is not is a KeyError, which says what there is."""
    if name not in there:
        raise KeyError(f"{lacks} {name!r}; {has} {', '.join(map(str, sorted(there))) or 'none'}")
    return there[name]


def _cat(file: str, attr: Any, show: Callable[..., Any], *about: Any) -> str:
    """Read a file below /sys."""
    said: str = _command("cat", f"cat {file}", lambda: kernfs_fop_open(attr, S_IRUGO) or show(*about))
    return said.rstrip("\n")


def _echo(value: object, file: str, attr: Any, store: Callable[..., Any], *about: Any) -> None:
    """Write a file below /sys, as a shell does."""
    text = str(value)
    _command("sh", f"echo {value} > {file}",
             lambda: kernfs_fop_open(attr, S_IWUGO) or store(*about, text, len(text)))


def disk(name: str) -> gendisk:
    """The gendisk of that name (`"nullb0"`). A name that there is not is a KeyError, which says what there is."""
    found: gendisk = _one_of(whole_disks(), name, "there is no disk")
    return found


def scheduler(name: str) -> str:
    """The name of a disk's scheduler, such as `"mq-deadline"` or `"none"`."""
    words = this().task("cat", elevator.elv_iosched_show, disk(name).queue).split()
    return next((word.strip("[]") for word in words if word.startswith("[")), words[0])


def set_scheduler(name: str, to: str) -> None:
    """Change a disk's scheduler: `echo none > /sys/block/nullb0/queue/scheduler`."""
    set_queue_file(name, "scheduler", to)


def queue_file(disk_name: str, file: str) -> str:
    """What a file of a disk's queue says: `cat /sys/block/nullb0/queue/max_sectors_kb`. "iosched/fifo_batch" is one of
    its scheduler's."""
    kobj, attr, show, _ = _queue_file(disk_name, file)
    return _cat(f"/sys/block/{disk_name}/queue/{file}", attr, show, kobj, attr)


def set_queue_file(disk: str, file: str, value: object) -> None:
    """Write a file of a disk's queue: `echo 64 > /sys/block/nullb0/queue/max_sectors_kb`."""
    kobj, attr, _, store = _queue_file(disk, file)
    _echo(value, f"/sys/block/{disk}/queue/{file}", attr, store, kobj, attr)


def set_disk_file(disk: str, file: str, value: object) -> None:
    """Write a file of a disk: `echo 1 > /sys/block/nvme0n1/io-timeout-fail`."""
    dev = disk_to_dev(_one_of(whole_disks(), disk, "there is no disk"))
    attr = _one_of(dev.kobj.attrs, file, f"{disk} has no file", "it has")
    _echo(value, f"/sys/block/{disk}/{file}", attr, attr.store, dev)


def _queue_file(disk_name: str, file: str) -> tuple[kobject, Any, Callable[..., Any], Callable[..., Any]]:
    """A file's kobject and attribute, and what reads and writes such files."""
    q = disk(disk_name).queue
    there = {name: (q.kobj, attr, blk_sysfs.queue_attr_show, blk_sysfs.queue_attr_store)
             for name, attr in q.kobj.attrs.items()}
    if q.elevator is not None:
        there |= {f"iosched/{attr.name}": (q.elevator.kobj, attr, elevator.elv_attr_show, elevator.elv_attr_store)
                  for attr in q.elevator.type.elevator_attrs}
    return _one_of(there, file, f"the queue of {disk_name} has no file", "it has")


def io(disk: str, op: str, offset: int, length: int, cpu: int = 0, page_runs: list[int] | None = None,
       data: bytes | bytearray | None = None, flags: Iterable[str] = ()) -> bytes:
    """Read or write a disk past the page cache: one O_DIRECT pread or pwrite by a fresh process on that CPU.

    `disk` is a name. offset, length: bytes. page_runs: how many pages lie side by side in each piece of its buffer
    (by default none do). data: the bytes to write; by default sector_numbers(). flags: of RW_FLAGS. Returns the bytes
    that were read, or written; fewer than `length` at the end of the disk.
    """
    asked = _asked(disk, op, offset, length, page_runs, data, flags)
    return _command("dio", f"{op} {length} bytes of {disk} at {offset}", _dio, disk, asked, cpu=cpu)


RW_FLAGS = {"hipri": RWF_HIPRI, "dsync": RWF_DSYNC, "nowait": RWF_NOWAIT}
"""Flags of a read or write: the process polls for it; it is on the medium when it returns; it fails (EAGAIN) rather
than wait for a request."""


def _asked(disk: str, op: str, offset: int, length: int, page_runs: list[int] | None = None,
           data: bytes | bytearray | None = None, flags: Iterable[str] = ()) -> Asked:
    """Check what somebody wants to read or write. KeyError or ValueError says what cannot be."""
    _one_of(devices().nodes, disk, "there is no disk")
    if op not in ("read", "write"):
        raise ValueError(f"op={op!r}: an I/O is a read or write")
    _bytes(63, offset=offset, length=length)
    pages = -(-length // PAGE_SIZE)
    page_runs = [1] * pages if page_runs is None else page_runs
    if sum(page_runs) < pages or min(page_runs, default=1) < 1:
        runs = ", ".join(map(str, page_runs[:16])) + ", …" * (len(page_runs) > 16)
        raise ValueError(f"page_runs=[{runs}]: {length} bytes need {pages} pages, in runs of one at least")
    written = b""
    if op == "write":
        written = sector_numbers(offset, length) if data is None else bytes(data)
        if len(written) != length:
            raise ValueError(f"data: {len(written)} bytes, where {length} are to be written")
    for flag in flags:
        if flag not in RW_FLAGS:
            raise ValueError(f"flag {flag!r}: there is {', '.join(RW_FLAGS)}")
    return Asked(op, offset, length, page_runs, written, sum(RW_FLAGS[flag] for flag in set(flags)))


def _bytes(bits: int, **values: int) -> None:
    """ValueError for what is no place or length where bytes are counted in so many bits."""
    for name, value in values.items():
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name}={value}: bytes are counted from 0 to {(1 << bits) - 1}")


def _dio(disk: str, asked: Asked, how: int = O_DIRECT) -> bytes | int:
    op, offset, length, page_runs, data, flags = asked
    if (buffer := map_user_buffer(page_runs)) is None:
        return -ENOMEM
    filp = filp_open(disk, how | (O_RDONLY if op == "read" else O_WRONLY))
    result: Any = PTR_ERR(filp) if IS_ERR(filp) else 0
    if not IS_ERR(filp):
        moved = iov_iter()
        if op == "write":
            buffer.write(0, data)
        iov_iter_init(moved, READ if op == "read" else WRITE, buffer, 0, length)
        result = (new_sync_read if op == "read" else new_sync_write)(filp, moved, offset, flags)
        filp_close(filp)
        if result >= 0:
            result = buffer.read(0, result)
    unmap_user_buffer(buffer)
    return result


def buffered(disk: str, op: str, offset: int, length: int, cpu: int = 0, data: bytes | bytearray | None = None,
             page_runs: list[int] | None = None) -> bytes:
    """Read or write a disk through the page cache, of which all that can go is dropped first, by a fresh process on
    that CPU. What it writes is written back when it closes the disk, unless others have it open.

    page_runs: how many of the next pages that the cache takes lie side by side in each piece (by default as it
    comes). Otherwise as io().
    """
    asked = _asked(disk, op, offset, length, data=data)
    _command("sh", "echo 1 > /proc/sys/vm/drop_caches", _drop_pagecache)
    spare = [] if page_runs is None else cache_pages(page_runs)
    try:
        return _command("dio", f"{op} {length} bytes of {disk} at {offset}", _dio, disk, asked, 0, cpu=cpu)
    finally:
        while spare:
            put_page(spare.pop())


def _drop_pagecache() -> None:
    for bdev in list(block_dev.variables().all_bdevs):
        invalidate_mapping_pages(bdev.bd_inode.i_mapping, 0, -1)


def aio(disk: str, wanted: list[dict[str, Any]], cpu: int = 0) -> list[bytes | KernelError]:
    """Read and write a disk in many places at once: one io_submit() by a fresh process on that CPU, which then waits.

    wanted: what io() takes, each as a dict: op, offset, length, and what else it is to have. Returns, in the same
    order, the bytes that each moved, or its KernelError.
    """
    found = _command("aio", f"io_submit on {disk}", _aio, disk, [_asked(disk, **each) for each in wanted], cpu=cpu)
    return [_face(result, disk, each) for result, each in zip(found, wanted, strict=True)]


def together(steps: list[dict[str, Any]], do: Callable[..., Any] | None = None) -> list[Any]:
    """Do steps of different processes at the same time: each is {"ms": when it begins, "step": a step}, in milliseconds
    after the first. Returns what each step brings, or its KernelError, in their order. A step that makes no sense is an
    exception once the others have ended.

    Those that begin at the same time begin in their order, one when those before it sleep or have ended. HungTask says
    which of them sleeps for ever. do: what does a step, run_step() where nobody says.
    """
    results: list[Any] = [None] * len(steps)
    wrong: list[Exception] = []

    def begin(i: int, step: Sequence[Any]) -> None:
        try:
            results[i] = (do or run_step)(step)
        except KernelError as why:
            results[i] = why

    def cpu_of(step: Sequence[Any]) -> int:
        found: int = home if step[0] in ("cpu.offline", "cpu.online") else arguments_of(step).get("cpu", home)
        return found  # a CPU that comes or goes is not the one that says so

    home = this().chosen(min(this().online))
    jobs = [(each["step"][0], cpu_of(each["step"]), partial(begin, i, each["step"]),
             int(each.get("ms", 0) * 1_000_000)) for i, each in enumerate(steps)]
    for stuck in this().tasks(jobs, wrong):
        raise HungTask(this().loop.described(stuck))
    if wrong:
        raise wrong[0]
    return results


def _face(result: bytes | int, disk: str, asked: dict[str, Any]) -> bytes | KernelError:
    what = f"{asked['op']} {asked['length']} bytes of {disk} at {asked['offset']}"
    return KernelError(result, what, []) if isinstance(result, int) else result


def _aio(disk: str, wanted: list[Asked]) -> list[bytes | int]:
    """Do all that is wanted of a disk with one io_submit(). Returns what each moved, or its -errno."""
    if IS_ERR(filp := filp_open(disk, O_DIRECT | O_RDWR)):
        return [PTR_ERR(filp)] * len(wanted)
    results: list[bytes | int] = [-ENOMEM] * len(wanted)
    iocbs = {}
    for i, (op, offset, length, page_runs, data, flags) in enumerate(wanted):
        if (buffer := map_user_buffer(page_runs)) is None:
            break
        if op == "write":
            buffer.write(0, data)
        iocbs[iocb(READ if op == "read" else WRITE, filp, buffer, offset, length, flags)] = i
    ctx, left = kioctx(), list(iocbs)
    while left:
        begun = io_submit(ctx, left)
        if begun < 0:  # what can't begin is reported, and the others are tried
            results[iocbs[left.pop(0)]] = begun
            continue
        for event in io_getevents(ctx, begun):
            results[iocbs[event.obj]] = event.obj.buffer.read(0, event.res) if event.res >= 0 else event.res
        del left[:begun]
    for each in iocbs:
        unmap_user_buffer(each.buffer)
    filp_close(filp)
    return results


def flush(disk: str, cpu: int = 0, datasync: bool = False) -> None:
    """Let everything that was written be on the medium: fsync by a process on that CPU; `datasync`: fdatasync."""
    _opened("sync", f"sync {disk}", disk, lambda filp: vfs_fsync(filp, int(datasync)), cpu)


def discard(disk: str, offset: int, length: int, cpu: int = 0) -> None:
    """Tell a disk that bytes are needed no more: `blkdiscard -o OFFSET -l LENGTH`."""
    _range(disk, "blkdiscard", offset, length, BLKDISCARD, cpu)


def zero_out(disk: str, offset: int, length: int, cpu: int = 0) -> None:
    """Fill bytes of a disk with zeroes, which a disk that can does itself: `blkdiscard -z -o OFFSET -l LENGTH`."""
    _range(disk, "blkdiscard -z", offset, length, BLKZEROOUT, cpu)


def _range(disk: str, command: str, offset: int, length: int, cmd: int, cpu: int) -> None:
    _bytes(64, offset=offset, length=length)  # where a read or write has 63
    _opened("blkdiscard", f"{command} -o {offset} -l {length} /dev/{disk}", disk,
            lambda filp: vfs_ioctl(filp, cmd, (offset, length)), cpu)


def _opened(task: str, line: str, disk: str, fn: Callable[[Any], int], cpu: int | None = None) -> None:
    """Do something with a disk by a process that opens it: fn(file)."""
    _one_of(devices().nodes, disk, "there is no disk")
    _command(task, line, _with_open, disk, fn, cpu=cpu)


def _with_open(disk: str, fn: Callable[[Any], int], how: int = O_RDWR) -> int:
    """Open the disk, to be read and written where nothing is said, call fn(file), and close it. Returns what fn does,
    or -errno."""
    if IS_ERR(filp := filp_open(disk, how)):
        return PTR_ERR(filp)
    result = fn(filp)
    filp_close(filp)
    return result


def set_irq_affinity(irq: int, cpus: str) -> None:
    """Let an interrupt go to these CPUs: `echo 0-3 > /proc/irq/30/smp_affinity_list`. EIO where it is managed."""
    _one_of(irq_desc_tree().descs, irq, "there is no interrupt")
    _command("sh", f"echo {cpus} > /proc/irq/{irq}/smp_affinity_list", write_irq_affinity, irq, cpus)


def rescan_partitions(disk: str) -> None:
    """Let the kernel look for a disk's partitions anew: `blockdev --rereadpt`. EBUSY while one of them is open."""
    _opened("blockdev", f"blockdev --rereadpt /dev/{disk}", disk,
            lambda filp: vfs_ioctl(filp, BLKRRPART, None))


def partition(disk: str, label: str, parts: str) -> None:
    """Write a table of partitions to a disk, and let the kernel read it: `sfdisk`. EBUSY while one of them is open.

    label: "mbr" or "gpt". parts: the partitions as FIRST+SECTORS, with commas between them, such as
    "2048+32768,34816+65536"; a number counts sectors of 512 bytes. ValueError says what does not fit.
    """
    if disk not in whole_disks():
        raise ValueError(f"{disk} is no whole disk; there is {', '.join(sorted(whole_disks())) or 'none'}")
    written = tables(label, get_capacity(whole_disks()[disk]), parsed(parts))
    rescan_partitions(disk)
    for offset, data in written:
        io(disk, "write", offset, len(data), data=data)
    rescan_partitions(disk)


def cat(file: str) -> str:
    """What a file below /proc, /sys/block or /sys/kernel/config says: "/sys/block/nvme0n1/queue/nr_requests"."""
    return _command("cat", f"cat {file}", look.reader(file))


def sector_numbers(offset: int, length: int) -> bytes:
    """Bytes to write where nobody says which: each 8 of them are the number of the sector that they are in."""
    first = offset // 512
    text = b"".join(number.to_bytes(8, "little") * 64 for number in range(first, (offset + length - 1) // 512 + 1))
    return text[offset - first * 512:][:length]


STEPS: dict[str, Any] = {
    "null_blk.load": null_blk_load, "null_blk.unload": null_blk_unload, "null_blk.configure": null_blk_configure,
    "nvme.device": nvme_device, "nvme.probe": nvme_probe, "nvme.remove": nvme_remove, "nvme.unbind": nvme_unbind,
    "nvme.pull_out": nvme_pull_out, "pci.slot_power": slot_power, "nvme.mask_interrupt": nvme_mask_interrupt,
    "nvme.fault_inject": nvme_fault_inject, "fail_io_timeout": fail_io_timeout, "nvme_file": set_nvme_file,
    "queue_file": set_queue_file, "disk_file": set_disk_file, "module_parameter": module_parameter,
    "cpu.offline": cpu_offline, "cpu.online": cpu_online, "io": io, "buffered": buffered, "aio": aio,
    "together": together, "flush": flush, "discard": discard, "zero_out": zero_out,
    "rescan_partitions": rescan_partitions, "partition": partition, "dmsetup": dmsetup_run,
    "lsblk": look.lsblk, "cat": cat}
LOOKS = ("lsblk", "cat")
"""Those that change nothing, and return a text."""
"""What a recording can ask for; each takes the object that stands with the step's name, or the words of dmsetup."""


def run_step(step: Sequence[Any]) -> Any:
    """Do what a step of a `blkmodel-calls/1` recording says. NotModelled, with its name, where the model can't.

    TypeError says which of the step's parameters is missing, or is none, and which there are.
    """
    values = arguments_of(step)
    return dmsetup_run(*step[1:]) if step[0] == "dmsetup" else STEPS[step[0]](**values)


def arguments_of(step: Sequence[Any]) -> dict[str, Any]:
    """The parameters of a step by name, of dmsetup none. TypeError says what is missing, or is no parameter."""
    name, *arguments = step
    if name not in STEPS:
        raise NotModelled(name)
    values = arguments[0] if arguments and name != "dmsetup" else {}
    takes = signature(STEPS[name])
    try:
        takes.bind(**values)
    except TypeError as why:
        raise TypeError(f"{name}: {why}; it takes {', '.join(takes.parameters)}") from why
    return values


def _command(task: str, line: str, fn: Callable[..., Any], *args: Any, cpu: int | None = None) -> Any:
    """Run fn(*args) as a process; return what it returns, unless that is -errno: that becomes a KernelError."""
    kernel, before = this(), len(this().log)
    result = kernel.task(task, fn, *args, cpu=cpu)
    if isinstance(result, int) and result < 0:
        raise KernelError(result, line, kernel.log[before:])
    return result
