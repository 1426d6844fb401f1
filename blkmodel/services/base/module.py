"""Modules: what is loaded while the kernel runs, and who holds it (kernel/module.c, kmod.h)."""

from blkmodel.services.base.bug import WARN_ON
from blkmodel.sim.structure import NULL, Struct, struct

THIS_MODULE = NULL


@struct
class module(Struct):
    """A loaded module. refcnt: 1 while it is loaded, and 1 for each who holds it; 0 when it is going."""

    refcnt: int = 1


def try_module_get(owner: module) -> bool:
    """Hold a module, so that it stays; return False for one that is going. What is built in (None) always stays."""
    if owner is None:
        return True
    if not owner.refcnt:
        return False
    owner.refcnt += 1
    return True


def module_put(owner: module) -> None:
    """Let a module go. To let it go more often than it was held is a bug of the kernel, of which it warns."""
    if owner is not None and not WARN_ON(owner.refcnt == 0, "module_put() of a module that nobody holds"):
        owner.refcnt -= 1


def request_module(name: str) -> int:
    """Ask user space to load a module. The model has none besides those it is told to load."""
    return -1
