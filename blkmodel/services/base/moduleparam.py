"""What a module can be told when it is loaded: `insmod null_blk submit_queues=4` (kernel/params.c)."""

from collections.abc import Callable, Iterable
from typing import Any

from blkmodel.services.base.errno import ERANGE
from blkmodel.services.base.kstrtox import kstrtobool, kstrtoint, kstrtouint, kstrtoul
from blkmodel.services.base.printk import pr_err
from blkmodel.sim.structure import NULL, Struct, struct


@struct
class kernel_param(Struct):
    """A parameter: set(text, kp) checks a text and keeps its value in variable `arg` of the file's `variables()`."""

    SIZE = 40
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


def param_set_bool(text: str, kp: kernel_param) -> int:
    return _keep(kp, *kstrtobool(text or "1"))


def _keep(kp: kernel_param, error: int, value: Any) -> int:
    if not error:
        setattr(kp.variables(), kp.arg, value)
    return error


def parse_args(doing: str, args: Iterable[tuple[str, str]], params: Iterable[kernel_param]) -> int:
    """Set parameters from (name, text) pairs, all of them known, up to the first bad text. Returns 0 or -errno."""
    known = {kp.name: kp for kp in params}
    for name, text in args:
        kp = known[name]
        error = kp.set(text, kp)
        if error:
            pr_err(f"{doing}: `{text}' invalid for parameter `{name}'")
            return error
    return 0
