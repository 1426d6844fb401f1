"""Things that user space makes by making a directory, and sets up by writing into its files (fs/configfs/item.c,
fs/configfs/dir.c, fs/configfs/file.c)."""

from collections.abc import Callable
from typing import Any

from blkmodel.services.base import EEXIST, EISDIR, ENOENT, EPERM, IS_ERR, PTR_ERR
from blkmodel.sim import NULL, Struct, statics


class config_item_type(Struct, size=40):
    """A kind of item: release(item) is called when it goes; ct_attrs: its files by name, each as show(item) and
    store(item, page, count)."""

    release: Callable[..., None] = NULL
    ct_attrs: dict[str, tuple[Callable[..., str], Callable[..., int]]] = NULL


class config_item(Struct, size=80):
    """A directory. _owner is the structure that embeds it. (In C that is found from the address.)"""

    ci_type: config_item_type = NULL
    ci_kref: int = 0
    _owner: Any = None


class configfs_subsystem(Struct, size=128):
    """A directory in which others can be made: make_item(group, name) and drop_item(group, item). items: by name;
    ct_attrs: files that are only read, show(item)."""

    name: str = ""
    make_item: Callable[..., config_item] = NULL
    drop_item: Callable[..., None] = NULL
    ct_attrs: dict[str, Callable[..., str]] = NULL
    items: dict[str, config_item] = NULL


class subsystems(statics, dict[str, configfs_subsystem]):
    """by_name: what is registered."""


def config_item_init_type_name(item: config_item, name: str, type: config_item_type, owner: Any) -> None:
    item.ci_type, item.ci_kref, item._owner = type, 1, owner


def config_item_put(item: config_item) -> None:
    """Let an item go; the last one releases it."""
    item.ci_kref -= 1
    if item.ci_kref == 0:
        item.ci_type.release(item)


def configfs_register_subsystem(subsystem: configfs_subsystem) -> int:
    """Show the subsystem's directory, still empty. Returns 0 or -EEXIST."""
    if subsystem.name in subsystems():
        return -EEXIST
    subsystem.items = {}
    subsystems()[subsystem.name] = subsystem
    return 0


def configfs_unregister_subsystem(subsystem: configfs_subsystem) -> None:
    del subsystems()[subsystem.name]


def configfs_mkdir(path: str) -> int:
    """Make a directory `subsystem/name`. Returns 0 or -errno."""
    group, *above, name = path.split("/")
    if (subsystem := subsystems().get(group)) is None or (above and _item(group, "/".join(above)) is None):
        return -ENOENT
    if name in subsystem.items or name in ("", ".", ".."):
        return -EEXIST
    if above:
        return -EPERM
    if IS_ERR(item := subsystem.make_item(subsystem, name)):
        return PTR_ERR(item)
    subsystem.items[name] = item
    return 0


def configfs_rmdir(path: str) -> int:
    """Take a directory away again. Returns 0 or -errno."""
    group, _, name = path.partition("/")
    if _item(group, name) is None:
        return -ENOENT
    subsystem = subsystems()[group]
    subsystem.drop_item(subsystem, subsystem.items.pop(name))
    return 0


def configfs_write_file(path: str, text: str) -> int:
    """Write into a file `subsystem/name/file`. Returns the bytes taken or -errno."""
    group, *directory, file = path.split("/")
    if (item := _item(group, "/".join(directory))) is None:
        return -ENOENT
    attr = item.ci_type.ct_attrs.get(file)
    return attr[1](item, text, len(text)) if attr else -EPERM


def configfs_read_file(path: str) -> str | int:
    """What a file `subsystem/name/file`, or `subsystem/file`, says; -ENOENT where there is none, -EISDIR for a
    directory."""
    group, *directory, file = path.split("/") if "/" in path else (path, "")
    if not file or (not directory and _item(group, file) is not None):
        return -EISDIR if not group or group in subsystems() else -ENOENT
    if directory:
        item = _item(group, "/".join(directory))
        attr = item.ci_type.ct_attrs.get(file) if item is not None else None
        return attr[0](item) if attr else -ENOENT
    subsystem = subsystems().get(group)
    show = (subsystem.ct_attrs or {}).get(file) if subsystem is not None else None
    return show(NULL) if show else -ENOENT


def _item(group: str, name: str) -> config_item:
    """The item of that name in a subsystem; None where there is no such item, or no such subsystem."""
    subsystem = subsystems().get(group)
    return subsystem.items.get(name, NULL) if subsystem is not None else NULL
