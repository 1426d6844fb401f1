"""Reference-counted objects with a name and a place in sysfs (lib/kobject.c, kobject.h, lib/kobject_uevent.c,
fs/sysfs/group.c, fs/sysfs/file.c, fs/sysfs/symlink.c, fs/kernfs/dir.c, fs/kernfs/file.c).

What sysfs shows of an object is kept on the object: `attrs` maps a file's name to its attribute, `links` the name
of a directory below it, or of a link, to the object that is there. What sysfs itself allocates is not accounted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Any

from blkmodel.services.base import EACCES, ENOENT, WARN_ON, pr_err, pr_warn
from blkmodel.services.memory.slab import GFP_KERNEL, kfree, kzalloc
from blkmodel.sim import NULL, Struct, statics

S_IRUGO, S_IWUGO = 0o444, 0o222
KOBJ_ADD, KOBJ_REMOVE, KOBJ_CHANGE = "add", "remove", "change"


class kobj_type(Struct, size=48):
    """A kind of object: `release(kobj)` is called when its last reference goes, `uevent(kobj)` for the words that it
    adds to what user space is told."""

    release: Callable[..., None] = NULL
    uevent: Callable[..., list[str]] = NULL


class kobject(Struct, size=64):
    """An object; `refcount` references to it are held. _owner is the structure that embeds it (in C it is found from
    the object's address)."""

    name: str = NULL
    parent: kobject = NULL
    ktype: kobj_type = NULL
    refcount: int = 0
    state_in_sysfs: bool = False
    attrs: dict[str, attribute] = field(default_factory=dict)
    links: dict[str, kobject] = field(default_factory=dict)
    uevent_suppress: bool = False
    _owner: Any = None


class attribute(Struct, size=32):
    """A file of sysfs: show(owner) returns its text, store(owner, text) returns the bytes taken or -errno. config: the
    option without which a kernel has it not."""

    name: str = ""
    mode: int = 0
    show: Callable[..., str | int] = NULL
    store: Callable[..., int] = NULL
    config: str = NULL


class attribute_group(Struct, size=40):
    """Files that come together; is_visible(kobj, attr, n) gives a file's mode, 0 where it is not to be."""

    name: str = NULL
    attrs: tuple = ()
    is_visible: Callable[..., int] = NULL


class sysfs(statics):
    """What hangs below no other object, by name; and the events that user space was told: (action, name, words).
    config: options that the kernel is built with besides those that the first recorded kernel had."""

    def __init__(self) -> None:
        self.config: set[str] = set()
        self.root: dict[str, kobject] = {}
        self.uevents: list[tuple[str, str, Sequence[str]]] = []


def kernfs_fop_open(attr: attribute, to: int) -> int:
    """Open a file to read (S_IRUGO) or write it (S_IWUGO). Returns 0, or -EACCES where its mode lets nobody do that,
    not even root."""
    return 0 if attr.mode & to else -EACCES


def kobject_init(kobj: kobject, ktype: kobj_type, owner: Any) -> None:
    """Start with one reference."""
    kobj.refcount, kobj.ktype, kobj._owner = 1, ktype, owner


def kobject_get(kobj: kobject) -> kobject:
    if kobj is not None:
        kobj.refcount += 1
    return kobj


def kobject_get_unless_zero(kobj: kobject) -> kobject:
    """Take a reference, unless the object is about to go; then return None."""
    return kobject_get(kobj) if kobj.refcount else NULL


def kobject_put(kobj: kobject) -> None:
    """Drop a reference; with the last one the object leaves sysfs and is released. To drop more is a bug of the kernel,
    of which it warns."""
    if kobj is None or WARN_ON(kobj.refcount == 0, "refcount_t: underflow; use-after-free."):
        return
    kobj.refcount -= 1
    if kobj.refcount == 0:
        if kobj.state_in_sysfs:
            kobject_del(kobj)
        if kobj.ktype is not None and kobj.ktype.release is not None:
            kobj.ktype.release(kobj)


def kobject_name(kobj: kobject) -> str:
    return kobj.name


def kobject_add(kobj: kobject, parent: kobject, name: str) -> int:
    """Show the object in sysfs, below `parent`; it holds the parent.

    Returns 0, or -ENOENT where the parent itself is not shown. What is shown below another parent already is shown
    there too; that the other is held is then forgotten.
    """
    kobj.name = name
    if parent is not None and not parent.state_in_sysfs:
        kobj.parent = NULL
        pr_err(f"kobject_add_internal failed for {name} (error: {-ENOENT} parent: {parent.name or '(null)'})")
        return -ENOENT
    kobj.parent = kobject_get(parent)
    kobj.state_in_sysfs = True
    (sysfs().root if parent is None else parent.links)[name] = kobj
    return 0


def kobject_del(kobj: kobject) -> None:
    """Take the object out of sysfs, with its files, and let its parent go."""
    if not kobj.state_in_sysfs:
        return
    (sysfs().root if kobj.parent is None else kobj.parent.links).pop(kobj.name, None)
    kobj.attrs.clear()
    kobj.state_in_sysfs = False
    parent, kobj.parent = kobj.parent, NULL
    kobject_put(parent)


def kobject_create_and_add(name: str, parent: kobject) -> kobject:
    """Allocate an object that is a mere directory; None on failure."""
    if (kobj := kzalloc(kobject, GFP_KERNEL)) is None:
        return NULL
    kobject_init(kobj, dynamic_kobj_ktype, kobj)
    if retval := kobject_add(kobj, parent, name):
        pr_warn(f"kobject_create_and_add: kobject_add error: {retval}")
        kobject_put(kobj)
        return NULL
    return kobj


dynamic_kobj_ktype = kobj_type(release=kfree)


def kobject_uevent_env(kobj: kobject, action: str, words: Sequence[str]) -> int:
    """Tell user space what happened to an object, unless that is suppressed; its kind may add words."""
    if not kobj.uevent_suppress:
        if kobj.ktype.uevent is not None:
            words = (*words, *kobj.ktype.uevent(kobj))
        sysfs().uevents.append((action, kobj.name, words))
    return 0


def kobject_uevent(kobj: kobject, action: str) -> int:
    return kobject_uevent_env(kobj, action, ())


def sysfs_create_group(kobj: kobject, group: attribute_group) -> int:
    """Make the group's visible files. Each is asked for once, with its number."""
    built = [attr for attr in group.attrs if attr.config is None or attr.config in sysfs().config]
    for n, attr in enumerate(built):
        mode = group.is_visible(kobj, attr, n) if group.is_visible is not None else attr.mode
        if mode:
            kobj.attrs[attr.name] = attr
    return 0


def sysfs_remove_group(kobj: kobject, group: attribute_group) -> None:
    sysfs_remove_files(kobj, group.attrs)


def sysfs_create_files(kobj: kobject, attrs: Iterable[attribute]) -> int:
    for attr in attrs:
        kobj.attrs[attr.name] = attr
    return 0


def sysfs_remove_files(kobj: kobject, attrs: Iterable[attribute]) -> None:
    for attr in attrs:
        kobj.attrs.pop(attr.name, None)


def sysfs_create_link(kobj: kobject, target: kobject, name: str) -> int:
    kobj.links[name] = target
    return 0


def sysfs_remove_link(kobj: kobject, name: str) -> None:
    kobj.links.pop(name, None)


def kernfs_name_hash(name: str) -> int:
    """By what a directory of sysfs keeps its names in order, for whoever reads it."""
    hash = 0
    for c in name.encode():
        hash = (hash + (c << 4) + (c >> 4)) * 11 & (1 << 64) - 1
    hash = (hash * 0x61C8864680B583EB & (1 << 64) - 1) >> 32 & 0x7FFFFFFF
    return min(hash + 2 if hash < 2 else hash, 0x7FFFFFFE)


def object_at(path: str) -> kobject:
    """The object at a path such as `block/nullb0/queue`; None where there is none. (Not the kernel's.)"""
    at: kobject = NULL
    for name in path.split("/"):
        at = (sysfs().root if at is None else at.links).get(name, NULL)
        if at is None:
            return NULL
    return at
