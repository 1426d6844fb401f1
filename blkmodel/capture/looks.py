"""What recordings call the files that they read, and what dmsetup was asked: each answered from the model's state.

A name is a path, or short for one: `queue/fua`, `mq/0/cpu_list`, `nvme0n1/stat` and `hctx1/type` are below the disk
that the step is about, `irq nvme0q1` is /proc/irq/N, `fault_inject/times` is below /sys/kernel/debug.
"""

import re
from collections.abc import Callable
from typing import Any

from blkmodel.capture.maps import TYPES, vector_cpus
from blkmodel.errors import KernelError, NotModelled
from blkmodel.include.linux.blk_mq import blk_mq_hw_ctx, queue_for_each_hw_ctx
from blkmodel.scenario import NVME_MODULES, disk, dmsetup_run, nvme_controller, nvme_file
from blkmodel.services import debugfs, devices
from blkmodel.sim import format_cpulist, this
from blkmodel.userland import look

Steps = list[list[Any]]
Answer = str | list[str]
"""What there is to read; of dmsetup, all that it may have been asked by the same name."""


def read(name: str, steps: Steps) -> Answer | None:
    """What a file says now, or dmsetup, of what these steps are about: "" where it is not there, None where the model
    has no answer."""
    for pattern, answer in _READERS:
        if found := re.fullmatch(pattern, name):
            try:
                return answer(steps, **found.groupdict())
            except NotModelled:
                return None
            except (KeyError, IndexError, TypeError, KernelError):  # none, or one that can only be written
                return ""
    return None


def hctx_of(steps: Steps, number: str) -> blk_mq_hw_ctx:
    """A hardware queue of the disk that the steps are about; KeyError where there is none."""
    return {str(hctx.queue_num): hctx for hctx in queue_for_each_hw_ctx(disk(_disk(steps)).queue)}[number]


def _disk(steps: Steps) -> str:
    """The whole disk that steps are about; where none names one, the first NVMe disk, or any."""
    for _, *rest in steps:
        about = rest[0] if rest and isinstance(rest[0], dict) else {}
        if "disk" in about:
            return re.sub(r"(?<=\d)p\d+$", "", about["disk"])
        if "device" in about:
            return f"{about['device']}n1"
    return "nvme0n1" if "nvme0n1" in devices().nodes else sorted(devices().nodes)[0]


def _irq(steps: Steps, device: str, queue: str) -> str:
    found = vector_cpus(nvme_controller(device).queues[int(queue)])
    return f"smp_affinity_list={found[0]} effective_affinity_list={found[1]}" if found else ""


def _sysfs(steps: Steps, file: str, disk_name: str | None = None) -> str:
    return _path(steps, f"/sys/block/{disk_name or _disk(steps)}/{file}")


def _path(steps: Steps, path: str) -> str:
    text = look.reader(path)()
    return text if isinstance(text, str) else ""


def _partition(steps: Steps, path: str) -> str:
    return f"start {_path(steps, path + '/start').strip()} size {_path(steps, path + '/size').strip()}"


def _hctx(steps: Steps, number: str, file: str) -> str:
    hctx = hctx_of(steps, number)
    return TYPES[hctx.type] if file == "type" else str(hctx.queued)


def _fault(steps: Steps, disk_name: str | None, where: str, file: str) -> str:
    faults = debugfs()
    attr = faults.fail_io_timeout if where == "fail_io_timeout" else faults.fault_inject[disk_name or _disk(steps)].attr
    return str(getattr(attr, file))


def _parameter(steps: Steps, module: str, name: str) -> str:
    there = {each.name: each for each in NVME_MODULES[module]}
    return str(getattr(there[name].variables(), there[name].arg))


def _dmsetup(steps: Steps, kind: str, name: str | None) -> list[str]:
    """What dmsetup says of the device that the steps are about, and of all."""
    options = ["-c", "--noheadings", "-o", "attr"] if kind == "info" else []
    names = dmsetup_run("info", "-c", "--noheadings", "-o", "name").output.split()
    about = [name] if name else [word for step in steps if step[0] == "dmsetup" for word in step[1:] if word in names]
    if not about and _disk(steps).startswith("dm-"):
        about = [_sysfs(steps, "dm/name").strip()]
    return [dmsetup_run(kind, *options, *which).output for which in (about[:1], [])]


_READERS: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"irq (?P<device>nvme\d+)q(?P<queue>\d{1,5})", _irq),
    (r"(?:(?P<disk_name>[^/]+)/)?(?P<file>mq/\d+/cpu_list|queue/.+|stat|inflight)", _sysfs),
    (r"(?P<path>/sys/block/([^/]+)/\2p?\d+)", _partition),
    (r"(?P<path>/(?:sys/block|proc|sys/kernel/config)/.+)", _path),
    (r"hctx(?P<number>\d+)/(?P<file>type|queued)", _hctx),
    (r"(?:(?P<disk_name>[^/]+)/)?(?P<where>fail_io_timeout|fault_inject)/(?P<file>times|probability|interval|space)",
     _fault),
    (r"/sys/class/nvme/(?P<device>[^/]+)/(?P<file>[^/]+)", lambda steps, device, file: nvme_file(device, file)),
    (r"/sys/module/(?P<module>nvme|nvme_core)/parameters/(?P<name>\w+)", _parameter),
    (r"/sys/devices/system/cpu/online", lambda steps: format_cpulist(sorted(this().online))),
    (r"/dev/(?P<name>\S+) exists", lambda steps, name: "yes" if name in devices().nodes else "no"),
    (r"dmsetup (?P<kind>status|info|table|deps)(?: (?P<name>[^\s-]\S*))?", _dmsetup))
