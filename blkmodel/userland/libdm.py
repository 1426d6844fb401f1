"""libdevmapper, the library below dmsetup: which ioctls a task comes to, and what it makes of the answers.

It does what version 1.02.185 does on a machine without udev: it makes the nodes below /dev/mapper itself. A process
has one Library; what it would write on its standard error is in `errors`, line by line.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from blkmodel.errors import NotModelled
from blkmodel.include.linux import dm_ioctl as uapi
from blkmodel.include.linux.genhd import dev_to_part, part_to_disk
from blkmodel.reference.source import rows
from blkmodel.services import (EBUSY, ENXIO, IS_ERR, MAJOR, MINOR, MKDEV, O_RDWR, PTR_ERR, S_IFBLK, dev_name, devices,
    filp_close, filp_open, huge_decode_dev, huge_encode_dev, mknod, unlink, usleep_range, vfs_ioctl)

LIBRARY_VERSION, CONTROL, MIN_SIZE = "1.02.185 (2022-05-18)", "/dev/mapper/control", 16 * 1024
PLAIN = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#+-.:=@_")
DM_EXISTS_FLAG = 1 << 2  # the library's own: a bit that the kernel leaves alone
PRIMARY_SOURCE = 0x0040 << 16  # in the cookie of an event: it comes from the library
RETRIES, RETRY_DELAY = 25, 200_000  # microseconds

# what a task's kind is called in messages, and its ioctl
KINDS = {"create": uapi.DM_DEV_CREATE_CMD, "reload": uapi.DM_TABLE_LOAD_CMD, "remove": uapi.DM_DEV_REMOVE_CMD,
         "remove_all": uapi.DM_REMOVE_ALL_CMD, "suspend": uapi.DM_DEV_SUSPEND_CMD, "resume": uapi.DM_DEV_SUSPEND_CMD,
         "info": uapi.DM_DEV_STATUS_CMD, "deps": uapi.DM_TABLE_DEPS_CMD, "rename": uapi.DM_DEV_RENAME_CMD,
         "version": uapi.DM_VERSION_CMD, "status": uapi.DM_TABLE_STATUS_CMD, "table": uapi.DM_TABLE_STATUS_CMD,
         "waitevent": uapi.DM_DEV_WAIT_CMD, "names": uapi.DM_LIST_DEVICES_CMD, "clear": uapi.DM_TABLE_CLEAR_CMD,
         "mknodes": uapi.DM_DEV_STATUS_CMD, "versions": uapi.DM_LIST_VERSIONS_CMD, "message": uapi.DM_TARGET_MSG_CMD,
         "setgeometry": uapi.DM_DEV_SET_GEOMETRY_CMD, "target-version": uapi.DM_GET_TARGET_VERSION_CMD}
# the version of the interface that a kind needs, where that is not (4, 0, 0)
NEEDS = {"versions": (4, 1, 0), "message": (4, 2, 0), "setgeometry": (4, 6, 0), "target-version": (4, 41, 0)}
WITHOUT_TARGETS = ("remove_all", "create", "remove", "suspend", "status", "clear")
WITH_EVENT = ("resume", "remove", "rename")
MAY_NOT_EXIST = ("info", "mknodes", "status")
MAY_GROW = ("versions", "names", "deps", "status", "table", "waitevent", "message")


def strerror(errno: int) -> str:
    """An error's text, as the C library has it."""
    return dict(rows("strerror.tsv", "userland")).get(str(errno), f"Unknown error {errno}")


Target = tuple[int, int, str, str]
"""Part of a table: where it starts and its length, in sectors, its type, and its parameters."""


class Refused(Exception):
    """The library does not do what is asked of it; why is among the process's errors."""


@dataclass(slots=True)
class Task:
    """One operation: its kind, the device that is meant, and what is to be done. `answer` and `block` are the kernel's.

    geometry, message and new_name are texts. flags: those of DM_*_FLAG that somebody wants, such as DM_UUID_FLAG where
    the new name is a UUID. exists: the device was there.
    """

    kind: str
    name: str = ""
    uuid: str = ""
    major: int = -1
    minor: int = -1
    targets: list[Target] = field(default_factory=list)
    new_name: str | None = None
    message: str | None = None
    sector: int = 0
    geometry: str | None = None
    event_nr: int = 0
    flags: int = 0
    retry_remove: bool = False
    add_node_on_create: bool = False
    answer: Any = None
    block: Any = None
    exists: bool = True


class Failure(NamedTuple):
    """An ioctl that failed: what the library calls it, and the errno, positive."""

    ioctl: str
    errno: int


class Library:
    """The library in one process. `failures` are the ioctls that failed, and were reported; what stands before each
    line of `errors` is the tool's `indent`."""

    def __init__(self, indent: str = "") -> None:
        self.indent = indent
        self.errors: list[str] = []
        self.failures: list[Failure] = []
        self._control: Any = None
        self._version, self._doublings = "", 0

    def error(self, line: str) -> None:
        """Write a line on standard error."""
        self.errors.append(f"{self.indent}{line}")

    def close(self) -> None:
        """Close the control node, as the end of the process does."""
        if self._control is not None:
            filp_close(self._control)
            self._control = None

    def task(self, kind: str) -> Task:
        """Make a task of that kind; with the first one the library asks the kernel which version it has."""
        self.version()
        return Task(kind)

    def version(self) -> str:
        """Ask the kernel which version of the interface it has, once; return that, such as "4.41.0"."""
        if not self._version:
            task, version = Task("version"), "unknown version"
            if self._open():
                self._ioctl(task)
                version = ".".join(map(str, task.answer.version))
            if not version.startswith("4."):
                self.error(f"Incompatible libdevmapper {LIBRARY_VERSION} and kernel driver ({version}).")
                raise Refused
            self._version = version
        return self._version

    def run(self, task: Task) -> None:
        """Do a task, all ioctls of it. Refused where it fails; then `errors` say why."""
        self.version()
        if task.kind == "create" and task.targets:
            self._create_and_load(task)
            return
        if not self._open():
            raise Refused
        while True:
            if (errno := self._try(task)) == ENXIO and task.kind in MAY_NOT_EXIST:
                task.exists = False
            elif errno:
                self.failures.append(Failure(task.kind, errno))
                self.error(f"device-mapper: {task.kind} ioctl on {self._called(task)} failed: {strerror(errno)}")
                raise Refused
            if not task.answer.flags & uapi.DM_BUFFER_FULL_FLAG:
                break
            if task.kind not in MAY_GROW:
                self.error("WARNING: libdevmapper buffer too small for data")
                break
            self._doublings += 1
        self._update_nodes(task)

    def mknodes(self, name: str | None = None) -> None:
        """Make the node of a device, or remove it where the device is gone; (None) of all."""
        self.version()
        wanted = [name or ""]
        if name is None:
            for node, there in list(devices().nodes.items()):
                if node.startswith("mapper/") and there.mode == S_IFBLK:
                    self.run(Task("mknodes", name=node.removeprefix("mapper/"), flags=uapi.DM_SKIP_BDGET_FLAG))
            listed = Task("names")
            self.run(listed)
            wanted = [mangled(each) for each, _ in names(listed)]
        for each in wanted:
            self.run(Task("mknodes", name=each, flags=uapi.DM_SKIP_BDGET_FLAG))

    def _open(self) -> bool:
        """Open the control node, if it is not; return whether it is."""
        if self._control is None:
            if IS_ERR(file := filp_open(CONTROL, O_RDWR)):
                self.error(f"{CONTROL}: open failed: {strerror(-PTR_ERR(file))}")
                self.error("Failure to communicate with kernel device-mapper driver.")
                self.error("Check that device-mapper is available in the kernel.")
                return False
            self._control = file
        return True

    def _try(self, task: Task) -> int:
        """Do one ioctl, again and again where that is wanted. Returns its errno, or 0."""
        for left in range(RETRIES if task.retry_remove and task.kind == "remove" else 1, 0, -1):
            if (errno := self._ioctl(task)) != EBUSY or left == 1:
                break
            usleep_range(RETRY_DELAY, RETRY_DELAY)
        return errno

    def _ioctl(self, task: Task) -> int:
        """Do one ioctl. Returns its errno, or 0; task.answer and task.block are set."""
        block = self._flatten(task)
        # more than 0 is success too: a message for a device without a table comes to 2
        errno = max(-vfs_ioctl(self._control, uapi._IOWR(KINDS[task.kind]), block), 0)
        task.block, task.answer = block, uapi.dm_ioctl()
        uapi.read_head(block, task.answer)
        return errno

    def _flatten(self, task: Task) -> bytearray:
        """The block of memory that the kernel is given."""
        parts = []
        if task.kind not in WITHOUT_TARGETS:
            for start, length, kind, params in task.targets:
                text = uapi.bytes_of(params).replace(b"\\", b"\\\\") + b"\0"
                size = uapi.align_val(uapi.TARGET_SPEC.size + len(text))
                spec = uapi.TARGET_SPEC.pack(start, length, 0, size, uapi.bytes_of(kind))
                parts.append((spec + text).ljust(size, b"\0"))
        count = len(parts)
        if task.message is not None:
            parts.append(uapi.TARGET_MSG.pack(task.sector) + uapi.bytes_of(task.message) + b"\0")
        parts += [uapi.bytes_of(text) + b"\0" for text in (task.new_name, task.geometry) if text is not None]
        data = b"".join(parts)
        head = uapi.dm_ioctl(version=list(NEEDS.get(task.kind, (4, 0, 0))), data_start=uapi.align_val(uapi.DATA_OFFSET),
                             target_count=count, event_nr=task.event_nr, flags=self._flags(task))
        size = max(head.data_start + len(data) + 8 * count, MIN_SIZE) << self._doublings
        head.data_size = size
        if task.minor >= 0:
            if task.major <= 0:
                self.error("Missing major number for persistent device.")
                self.error("Couldn't create ioctl argument.")
                raise Refused
            head.dev = huge_encode_dev(MKDEV(task.major & 0xFFF, task.minor & 0xFFFFF))
        # where a number says which device is meant, the name is only for messages
        if task.kind not in ("resume", "reload") or task.minor < 0 or task.major < 0:
            head.name = task.name
        head.uuid = task.uuid
        if task.kind in WITH_EVENT:
            head.event_nr |= PRIMARY_SOURCE
        block = bytearray(size)
        uapi.write_head(head, block)
        block[head.data_start:head.data_start + len(data)] = data
        return block

    def _flags(self, task: Task) -> int:
        of_kind = {"suspend": uapi.DM_SUSPEND_FLAG, "table": uapi.DM_STATUS_TABLE_FLAG}.get(task.kind, 0)
        return DM_EXISTS_FLAG | task.flags | of_kind | (uapi.DM_PERSISTENT_DEV_FLAG if task.minor >= 0 else 0)

    def _called(self, task: Task) -> str:
        """The device of a task, for a message."""
        number = f"({task.major}:{task.minor})" if task.major > 0 else ""
        return f"{task.name} {task.uuid}{number}"

    def _create_and_load(self, task: Task) -> None:
        """Make a device with a table: create, load, resume; one whose table does not do is removed again."""
        create = Task("create", name=task.name, uuid=task.uuid, major=task.major, minor=task.minor,
                      add_node_on_create=task.add_node_on_create)
        self.run(create)
        major, minor = _numbers(create.answer.dev)
        try:
            self.run(Task("reload", name=task.name, major=major, minor=minor, targets=task.targets,
                          flags=task.flags & uapi.DM_READONLY_FLAG))
            # the kind of the task is another from here on, so that its answer says how the device is in the end
            task.kind, task.uuid, task.targets = "resume", "", []
            self.run(task)
        except (Refused, NotModelled):
            task.kind, task.uuid, task.targets = "remove", "", []
            try:
                self.run(task)
            except Refused:
                self.error("Failed to revert device creation.")
            raise

    def _update_nodes(self, task: Task) -> None:
        """Make, remove or rename the device's node."""
        early = task.add_node_on_create
        if (task.kind == "create" and early) or (task.kind == "resume" and task.name and not early):
            self._add_node(task.name, task.answer.dev)
        elif task.kind == "mknodes":
            if task.exists:
                self._add_node(task.answer.name, task.answer.dev)
            elif task.name:
                unlink(f"/dev/mapper/{task.name}")
        elif task.kind == "remove" and task.name:
            unlink(f"/dev/mapper/{task.name}")
        elif task.kind == "rename" and task.name and not task.flags & uapi.DM_UUID_FLAG:
            if (node := devices().nodes.get(f"mapper/{task.name}")) is not None:
                unlink(f"/dev/mapper/{task.name}")
                self._add_node(task.new_name or "", huge_encode_dev(node.rdev))

    def _add_node(self, name: str, dev: int) -> None:
        """Make a node below /dev/mapper, unless it is there."""
        number = huge_decode_dev(dev)
        if (node := devices().nodes.get(f"mapper/{name}")) is not None and node.rdev == number:
            return
        unlink(f"/dev/mapper/{name}")
        mknod(f"/dev/mapper/{name}", S_IFBLK, number)


# What an answer says

class Info(NamedTuple):
    """How the kernel says that a device is. flags: DM_*_FLAG, and DM_DEFERRED_REMOVE."""

    name: str
    uuid: str
    flags: int
    open_count: int
    event_nr: int
    major: int
    minor: int
    target_count: int

    @property
    def stat(self) -> str:
        """Which tables there are, whether the device is suspended, and whether it is read-only, each as a letter."""
        shown = ((uapi.DM_ACTIVE_PRESENT_FLAG, "L-"), (uapi.DM_INACTIVE_PRESENT_FLAG, "I-"),
                 (uapi.DM_SUSPEND_FLAG, "s-"), (uapi.DM_READONLY_FLAG, "rw"))
        return "".join(letters[not self.flags & flag] for flag, letters in shown)


def info(task: Task) -> Info:
    """How the kernel says the device of a task is."""
    answer = task.answer
    return Info(plain(answer.name), plain(answer.uuid), answer.flags, answer.open_count, answer.event_nr,
                *_numbers(answer.dev), answer.target_count)


def _numbers(dev: int) -> tuple[int, int]:
    """The major and the minor of a device, from the number that an answer has."""
    number = huge_decode_dev(dev)
    return MAJOR(number), MINOR(number)


def _records(task: Task, layout: Any, following: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """The records of an answer, each with the text behind it. following: the field that says how far the next is."""
    at, distance = task.answer.data_start, 1
    while distance:
        values = layout.unpack_from(task.block, at)
        yield values, uapi.string_at(task.block, at + layout.size)
        distance = values[following]
        at += distance


def names(task: Task) -> list[tuple[str, tuple[int, int]]]:
    """(name, (major, minor)) of each device that a task of kind `names` found."""
    return [(plain(text), _numbers(dev)) for (dev, _), text in _records(task, uapi.NAME_LIST, 1) if dev]


def targets(task: Task) -> list[Target]:
    """(start, length, type, text) of each target, of a task of kind `status`, `table` or `waitevent`."""
    found = []
    start = at = task.answer.data_start
    for _ in range(task.answer.target_count):
        begin, length, _status, following, kind = uapi.TARGET_SPEC.unpack_from(task.block, at)
        found.append((begin, length, uapi.text_of(kind), uapi.string_at(task.block, at + uapi.TARGET_SPEC.size)))
        at = start + following
    return found


def versions(task: Task) -> list[tuple[str, tuple[int, ...]]]:
    """(name, version) of each type of target, of a task of kind `versions` or `target-version`."""
    return [(text, tuple(version)) for (_, *version), text in _records(task, uapi.TARGET_VERSIONS, 0)]


def deps(task: Task) -> list[tuple[int, int]]:
    """(major, minor) of each device below, of a task of kind `deps`."""
    at = task.answer.data_start
    count, _ = uapi.TARGET_DEPS.unpack_from(task.block, at)
    return [_numbers(uapi.U64.unpack_from(task.block, at + uapi.TARGET_DEPS.size + 8 * i)[0]) for i in range(count)]


def read_ahead(major: int, minor: int) -> int | None:
    """How many sectors are read ahead on a disk; None for no such disk."""
    return next((part_to_disk(dev_to_part(dev)).queue.backing_dev_info.ra_pages * 8
                 for dev in devices().of_class.get("block", ()) if dev.devt == MKDEV(major, minor)), None)


def mangled(name: str) -> str:
    """A name as udev can bear it: any other byte as \\xNN; one that is written so already stays."""
    if "\\x" in name:
        return name
    return "".join(chr(byte) if chr(byte) in PLAIN else f"\\x{byte:02x}" for byte in uapi.bytes_of(name))


def plain(name: str) -> str:
    """The name that mangled() made this one of."""
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), uapi.bytes_of(name))
    return data.decode("utf8", "surrogateescape")


def name_of_path(path: str) -> tuple[str, str]:
    """The name of a device by a path to a node of it. Returns (name, ""), or ("", what is not to be found)."""
    nodes = devices().nodes
    node = nodes.get(path.removeprefix("/dev/")) if path.startswith("/dev/") or path.count("/") == 1 else None
    if node is None:
        return "", path
    last = path.rpartition("/")[2]
    mapper = [name.removeprefix("mapper/") for name, other in nodes.items()
              if name.startswith("mapper/") and other.mode == S_IFBLK and other.rdev == node.rdev]
    if last in mapper:
        return last, ""
    return (mapper[0], "") if mapper else ("", last)


def find_disk(major: int, minor: int) -> str | None:
    """The name of a disk, or of a partition, by its number, or None."""
    return next((dev_name(dev) for dev in devices().of_class.get("block", ()) if dev.devt == MKDEV(major, minor)), None)
