"""What runs once, while a kernel boots. A module that has such a function names it here, below its definition
(include/linux/init.h, module.h)."""

from collections.abc import Callable
from typing import Any

from blkmodel.sim.kernel import at_boot


def subsys_initcall(fn: Callable[[], Any]) -> None:
    at_boot(4, fn)


def fs_initcall(fn: Callable[[], Any]) -> None:
    at_boot(5, fn)


def module_init(fn: Callable[[], Any]) -> None:
    """The first function of what is built in. (That of a module that can be loaded runs at each load.)"""
    at_boot(6, fn)
