"""Which path selectors there are: they register by name, and multipath looks them up."""

from blkmodel.drivers.md.dm_path_selector_h import path_selector_type
from blkmodel.services import (EEXIST, EINVAL, ENOMEM, GFP_KERNEL, kfree, kzalloc, list_add, list_del_init, list_head,
    module_put, request_module, try_module_get)
from blkmodel.sim import NULL, Struct, statics


class ps_internal(Struct, size=112):
    """A registered selector type, on the list of all."""

    pst: path_selector_type = NULL
    list: list_head = NULL


class variables(statics):
    """The registered path selectors, the newest first."""

    def __init__(self) -> None:
        self._path_selectors = list_head()


def __find_path_selector_type(name: str) -> ps_internal:
    """The registered selector of that name, or None."""
    return next((psi for psi in variables()._path_selectors if psi.pst.name == name), NULL)


def get_path_selector(name: str) -> ps_internal:
    """Find the registered selector of a name, and hold its module. Returns None where there is none."""
    if (psi := __find_path_selector_type(name)) is not None and not try_module_get(psi.pst.module):
        psi = NULL
    return psi


def dm_get_path_selector(name: str | None) -> path_selector_type:
    """A selector's type by name, its module loaded first if need be; None where there is none, or no name."""
    if name is None:
        return NULL
    if (psi := get_path_selector(name)) is None:
        request_module(f"dm-{name}")
        psi = get_path_selector(name)
    return psi.pst if psi is not None else NULL


def dm_put_path_selector(pst: path_selector_type) -> None:
    """Let go of the module of a selector's type; None is allowed."""
    if pst is None:
        return
    if (psi := __find_path_selector_type(pst.name)) is not None:
        module_put(psi.pst.module)


def _alloc_path_selector(pst: path_selector_type) -> ps_internal:
    """Make the list's entry of a selector; None on failure."""
    if (psi := kzalloc(ps_internal, GFP_KERNEL)) is not None:
        psi.pst = pst
    return psi


def dm_register_path_selector(pst: path_selector_type) -> int:
    """Make a selector known. Returns 0, -ENOMEM, or -EEXIST where one of that name is."""
    if (psi := _alloc_path_selector(pst)) is None:
        return -ENOMEM
    if __find_path_selector_type(pst.name) is not None:
        kfree(psi)
        return -EEXIST
    list_add(psi, variables()._path_selectors, "list")
    return 0


def dm_unregister_path_selector(pst: path_selector_type) -> int:
    """Take a selector off the list. Returns 0, or -EINVAL where it is not on it."""
    if (psi := __find_path_selector_type(pst.name)) is None:
        return -EINVAL
    list_del_init(psi, "list")
    kfree(psi)
    return 0
