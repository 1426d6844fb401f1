"""Modules: what is loaded while the kernel runs and who holds it, what it runs first, and what it can be told:
`insmod null_blk submit_queues=4`. What is built in names its first function below its definition, and that runs once,
while a kernel boots (include/linux/init.h, module.h, kernel/module.c, export.h, kmod.h, kernel/params.c)."""

from collections.abc import Callable, Iterable
from typing import Any

from blkmodel.services.base.bug import WARN_ON
from blkmodel.services.base.err import ENOSPC, ERANGE
from blkmodel.services.base.printk import pr_err
from blkmodel.services.base.text import kstrtobool, kstrtoint, kstrtouint, kstrtoul
from blkmodel.sim import NULL, Struct
from blkmodel.sim.kernel import at_boot

THIS_MODULE = NULL


def subsys_initcall(fn: Callable[[], Any]) -> None:
    at_boot(4, fn)


def fs_initcall(fn: Callable[[], Any]) -> None:
    at_boot(5, fn)


def module_init(fn: Callable[[], Any], beside: str = "") -> None:
    """The first function of what is built in, behind that of module `beside`. (That of a module that can be loaded
    runs at each load.)"""
    at_boot(6, fn, beside)


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


class kernel_param(Struct, size=40):
    """A parameter: set(text, kp) checks a text and keeps its value in variable `arg` of the file's `variables()`."""

    name: str = ""
    set: Callable[..., int] = NULL
    variables: Callable[[], Any] = NULL
    arg: str = ""


def param_set_int(text: str, kp: kernel_param) -> int:
    return _keep(kp, *kstrtoint(text, 0))


def param_set_uint(text: str, kp: kernel_param) -> int:
    return _keep(kp, *kstrtouint(text, 0))


def param_set_ulong(text: str, kp: kernel_param) -> int:
    return _keep(kp, *kstrtoul(text, 0))


def param_set_byte(text: str, kp: kernel_param) -> int:
    error, value = kstrtouint(text, 0)
    return _keep(kp, error or (-ERANGE if value > 255 else 0), value)


def param_set_copystring(text: str, kp: kernel_param) -> int:
    """Keep the text itself, which has fewer than 80 letters; -ENOSPC for a longer one."""
    return _keep(kp, -ENOSPC if len(text) >= 80 else 0, text)


def param_set_bool(text: str, kp: kernel_param) -> int:
    return _keep(kp, *kstrtobool(text))


def _keep(kp: kernel_param, error: int, value: Any) -> int:
    if not error:
        setattr(kp.variables(), kp.arg, value)
    return error


def parse_args(doing: str, args: Iterable[tuple[str, str]], params: Iterable[kernel_param]) -> int:
    """Set parameters from (name, text) pairs, all of them known. Returns 0, or the last bad text's -errno."""
    known = {kp.name: kp for kp in params}
    error = 0
    for name, text in args:
        if ret := known[name].set(text, known[name]):
            pr_err(f"{doing}: `{text}' invalid for parameter `{name}'")
            error = ret
    return error
