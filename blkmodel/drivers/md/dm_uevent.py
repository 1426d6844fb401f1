"""What user space is told of paths: events that are built when a path fails, and sent when the device has its turn."""

from blkmodel.drivers.md import dm, dm_ioctl, dm_table
from blkmodel.drivers.md.dm_core_h import mapped_device
from blkmodel.include.linux.device_mapper import DMERR, DMINFO, dm_target
from blkmodel.services import (ENOMEM, ERR_PTR, GFP_ATOMIC, IS_ERR, KOBJ_CHANGE, kmem_cache, kmem_cache_alloc,
    kmem_cache_create, kmem_cache_destroy, kmem_cache_free, kobject, kobject_uevent_env, list_del_init, list_head)
from blkmodel.sim import NULL, Struct, sizeof, statics

DM_MSG_PREFIX = "uevent"
DM_UEVENT_PATH_FAILED, DM_UEVENT_PATH_REINSTATED = range(2)


_dm_uevent_type_names = ((KOBJ_CHANGE, "PATH_FAILED"), (KOBJ_CHANGE, "PATH_REINSTATED"))


class dm_uevent(Struct, size=2888):
    """An event that waits to be sent; ku_env are its words."""

    md: mapped_device = NULL
    action: str = ""
    ku_env: tuple[str, ...] = ()
    elist: list_head = NULL
    name: str = ""
    uuid: str = ""


class variables(statics):
    """Where events are from."""

    def __init__(self) -> None:
        self._dm_event_cache: kmem_cache = NULL


def dm_uevent_free(event: dm_uevent) -> None:
    """Free an event that dm_uevent_alloc() allocated."""
    kmem_cache_free(variables()._dm_event_cache, event)


def dm_uevent_alloc(md: mapped_device) -> dm_uevent:
    """Allocate an event without words for a device. Returns None when memory runs out."""
    if (event := kmem_cache_alloc(variables()._dm_event_cache, GFP_ATOMIC)) is not None:
        event.md = md
    return event


def dm_build_path_uevent(md: mapped_device, ti: dm_target, action: str, dm_action: str, path: str,
                         nr_valid_paths: int) -> dm_uevent:
    """An event that says what became of a path, and how many are left. Returns it, or ERR_PTR(-ENOMEM)."""
    if (event := dm_uevent_alloc(md)) is None:
        DMERR("dm_build_path_uevent: dm_uevent_alloc() failed")
        return ERR_PTR(-ENOMEM)
    event.action = action
    event.ku_env = (f"DM_TARGET={ti.type.name}", f"DM_ACTION={dm_action}", f"DM_SEQNUM={dm.dm_next_uevent_seq(md)}",
                    f"DM_PATH={path}", f"DM_NR_VALID_PATHS={nr_valid_paths}")
    return event


def dm_send_uevents(events: list_head, kobj: kobject) -> None:
    """Send a list of events, with the device's names; those of a device that is gone are dropped."""
    for event in events:
        list_del_init(event, "elist")
        r, event.name, event.uuid = dm_ioctl.dm_copy_name_and_uuid(event.md)
        if r:
            DMINFO("dm_send_uevents: skipping sending uevent for lost device")
        else:
            event.ku_env += (f"DM_NAME={event.name}", f"DM_UUID={event.uuid}")
            if kobject_uevent_env(kobj, event.action, event.ku_env):
                DMERR("dm_send_uevents: kobject_uevent_env failed")
        dm_uevent_free(event)


def dm_path_uevent(event_type: int, ti: dm_target, path: str, nr_valid_paths: int) -> None:
    """Let user space hear of a path: its name, and how many are left."""
    md = dm_table.dm_table_get_md(ti.table)
    if not IS_ERR(event := dm_build_path_uevent(md, ti, *_dm_uevent_type_names[event_type], path, nr_valid_paths)):
        dm.dm_uevent_add(md, event)


def dm_uevent_init() -> int:
    """Make the cache of events. Returns 0 or -ENOMEM."""
    variables()._dm_event_cache = kmem_cache_create("dm_uevent", sizeof(dm_uevent), dm_uevent)
    if variables()._dm_event_cache is None:
        return -ENOMEM
    DMINFO("version 1.0.3")
    return 0


def dm_uevent_exit() -> None:
    """Destroy the cache of events."""
    kmem_cache_destroy(variables()._dm_event_cache)
