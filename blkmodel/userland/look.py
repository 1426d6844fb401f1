"""What a user looks at without changing it: files below /proc, /sys/block and /sys/kernel/config, and the disks that
there are."""

from collections.abc import Callable, Sequence
from functools import partial

from blkmodel.block import blk_sysfs, elevator, genhd
from blkmodel.drivers.md import dm_sysfs
from blkmodel.errors import NotModelled
from blkmodel.include.linux.genhd import disk_to_dev
from blkmodel.services import (MAJOR, MINOR, configfs_read_file, device, kernfs_name_hash, kobject, object_at, proc,
    seq_read, whole_disks)
from blkmodel.userland.tools import known

CONFIG = "/sys/kernel/config/"
SHOW = {blk_sysfs.blk_queue_ktype: blk_sysfs.queue_attr_show, dm_sysfs.dm_ktype: dm_sysfs.dm_attr_show,
        elevator.elv_ktype: elevator.elv_attr_show}


def reader(file: str) -> Callable[[], str | int]:
    """What reads a file: it returns the text, or -errno.

    NotModelled, with its name, for one that Linux 5.4 has and the model has not; KeyError for one that there is not.
    """
    at, _, name = file.rpartition("/")
    if at == "/proc" and name in proc():
        return partial(seq_read, proc()[name])
    top = next((top for top in ("/proc", "/sys/block/", CONFIG) if file.startswith(top)), None)
    if top is not None and name in known(f"{top} files not modelled"):
        raise NotModelled(file)
    if top == CONFIG:
        return partial(configfs_read_file, file.removeprefix(CONFIG))
    kobj = object_at(at.removeprefix("/sys/")) if top == "/sys/block/" else None
    if kobj is None or name not in kobj.attrs:
        raise KeyError(f"there is no file {file!r}")
    if kobj.attrs[name].show is None:
        raise NotModelled(file)
    return _shown(kobj, name)


def _shown(kobj: kobject, name: str) -> Callable[[], str | int]:
    """What reads a file of an object."""
    attr = kobj.attrs[name]
    return partial(SHOW[kobj.ktype], kobj, attr) if kobj.ktype in SHOW else partial(attr.show, kobj._owner)


def lsblk() -> str:
    """What disks there are, with what is made of each below it: `lsblk` of util-linux 2.38.1."""
    rows = [("NAME", "MAJ:MIN", "RM", "SIZE", "RO", "TYPE")]

    above: list[kobject] = []

    def add(kobj: kobject, before: str, branch: str, disk: kobject) -> None:
        dm, devt, part = kobj.links.get("dm"), kobj._owner.devt, kobj._owner.type.name == "partition"
        uuid = _said(dm, "uuid") if dm is not None else ""
        kind = (uuid.split("-")[0].lower() if "-" in uuid else "dm") if dm is not None else "part" if part else "disk"
        name = kobj.name if dm is None else _said(dm, "name")
        rows.append((f"{before}{branch}{name}", f"{MAJOR(devt):3}:{MINOR(devt):<3}",
                     _said(disk, "removable"), _size(int(_said(kobj, "size")) << 9), _said(kobj, "ro"), kind))
        below = [each for each in kobj.links.values() if each.parent is kobj and isinstance(each._owner, device)
                 and each._owner.class_ is genhd.block_class]
        above.append(kobj)
        below = sorted([each for each in [*below, *kobj.links["holders"].links.values()] if each not in above],
                       key=lambda each: each._owner.devt)  # mapped devices may lie in a circle
        for each in below:
            add(each, before + {"": "", "├─": "│ ", "└─": "  "}[branch], "└─" if each is below[-1] else "├─",
                disk if each.parent is kobj else each)
        above.pop()
    for disk in sorted(map(disk_to_dev, whole_disks().values()), key=lambda dev: dev.devt):
        if not disk.kobj.links["slaves"].links:
            add(disk.kobj, "", "", disk.kobj)
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join(f"{row[0]:{wide[0]}} {row[1]:{wide[1]}} {row[2]:>{wide[2]}} {row[3]:>{wide[3]}} {row[4]:>{wide[4]}} "
                   f"{row[5]:{wide[5]}} {'' if at else 'MOUNTPOINTS'}\n" for at, row in enumerate(rows) if rows[1:])


def lsblk_run(words: Sequence[str]) -> str:
    """Do `lsblk`, which takes no words here: ValueError."""
    if words:
        raise ValueError(f"expected no more words; found {' '.join(words)}")
    return lsblk()


def _said(kobj: kobject, name: str) -> str:
    return str(_shown(kobj, name)()).strip()


def _size(number: int) -> str:
    """Bytes in the largest unit that there is one of, and a decimal of it."""
    power = max(number.bit_length() - 1, 0) // 10
    tenths = (number * 10 + (1 << 10 * power >> 1)) >> 10 * power
    return f"{tenths // 10}{f'.{tenths % 10}' * (tenths % 10 > 0)}{'BKMGTPE'[power]}"


def tree(path: str) -> dict[str, str]:
    """File → text, of all files below a folder of /sys that can be read, in the order in which `grep -r . PATH/` meets
    them. Links are not followed, but those of a class such as /sys/block. KeyError: there is no such folder."""
    top = object_at(path.rstrip("/").removeprefix("/sys/").removeprefix("class/"))
    if top is None or not path.startswith("/sys/"):
        raise KeyError(f"there is no folder {path!r}; there is such as /sys/block/nvme0n1 or /sys/class/nvme/nvme0")
    found: dict[str, str] = {}

    def walk(kobj: kobject, at: str) -> None:
        for name in sorted([*kobj.attrs, *kobj.links], key=kernfs_name_hash):
            if name in kobj.attrs:
                if kobj.attrs[name].show is not None and isinstance(text := _shown(kobj, name)(), str):
                    found[f"{at}/{name}"] = text
            elif kobj.links[name].parent is kobj or (kobj is top and kobj.parent is None):
                walk(kobj.links[name], f"{at}/{name}")
    walk(top, path.rstrip("/"))
    return found


def sysfs(words: Sequence[str]) -> str:
    """`grep -r . WORD/`, of a folder of /sys. ValueError or KeyError says what is wrong with the words."""
    if len(words) != 1:
        raise ValueError(f"expected one folder of /sys, such as /sys/block/nvme0n1; found {' '.join(words) or 'none'}")
    return "".join(f"{file}:{line}\n" for file, text in tree(words[0]).items() for line in text.splitlines() if line)
