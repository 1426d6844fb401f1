"""Holding the model's queues against a recording of a kernel's (`blkmodel-capture/1`).

Each case is run on a machine that has just booted, and everything that the kernel reported of it is compared: how many
queues of each type, what each hardware queue serves and how many tags it has, nr_requests, the scheduler, the
geometry of the tag bitmap, and the CPUs of each interrupt.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from blkmodel import releases, scenario
from blkmodel.block import blk_mq_cpumap
from blkmodel.capture.files import printable
from blkmodel.capture.reference import VECTORS
from blkmodel.drivers.nvme.host.pci import NVMEQ_ENABLED, NVMEQ_POLLED, nvme_queue
from blkmodel.drivers.pci.msi import pci_irq_vector
from blkmodel.include.linux.blk_mq import (HCTX_TYPE_DEFAULT, HCTX_TYPE_POLL, HCTX_TYPE_READ, blk_mq_queue_map,
    queue_for_each_hw_ctx)
from blkmodel.include.linux.blkdev import request_queue
from blkmodel.kernel.irq import affinity
from blkmodel.reference.source import RELEASE
from blkmodel.services import irq_affinity, nr_cpu_ids, proc_irq, to_pci_dev
from blkmodel.sim import Machine, boot, format_cpulist

TYPES = {HCTX_TYPE_DEFAULT: "default", HCTX_TYPE_READ: "read", HCTX_TYPE_POLL: "poll"}


def observe(on: Machine, driver: str, params: dict[str, Any], device: dict[str, Any] | None = None,
            release: str = RELEASE) -> dict[str, Any]:
    """Run a case on a machine; return what a kernel of that release would report, in the form of a case's `observed`.

    `params` are the driver's module parameters. `device` says what the NVMe controller can do (`max_ioqpairs`, and
    what else scenario.CONTROLLER has a word for).
    """
    with releases.running(release):
        boot(on)
        return _DRIVERS.get(driver, _other)(params, device or {})


def _null_blk(params: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    scenario.null_blk_load(**params)
    return _of_queue(scenario.disk("nullb0").queue)


def _nvme(params: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    dev = scenario.nvme_controller(scenario.nvme_probe(**device, **params))
    queues = {name: dev.io_queues[kind] for kind, name in TYPES.items()}
    interrupts = {str(nvmeq.qid or "admin"): cpus[0] for nvmeq in dev.queues if (cpus := vector_cpus(nvmeq))}
    return {"queues": queues, **_of_queue(scenario.disk("nvme0n1").queue), "irq_affinity": interrupts}


def vector_cpus(nvmeq: nvme_queue) -> tuple[str, ...] | None:
    """The CPUs of a queue's interrupt as /proc/irq shows them, those that it may and that it does go to; None
    where it has none."""
    if not nvmeq.flags >> NVMEQ_ENABLED & 1 or nvmeq.flags >> NVMEQ_POLLED & 1:
        return None
    return proc_irq(pci_irq_vector(to_pci_dev(nvmeq.dev.dev), nvmeq.cq_vector))


def _other(params: dict[str, Any], device: dict[str, Any]) -> dict[str, Any]:
    """The queues of a driver of which only the map is known: by its vectors where each queue that is not polled has one
    (and one is for changes of the device), else the default map."""
    polled = min(params.get("poll_queues", 0), device["queues"] - 1)
    hctxs, offset = [], 0
    for kind, queues in ((HCTX_TYPE_DEFAULT, device["queues"] - polled), (HCTX_TYPE_POLL, polled)):
        qmap = blk_mq_queue_map(mq_map=[0] * nr_cpu_ids(), nr_queues=queues)
        if kind == HCTX_TYPE_DEFAULT and device["vectors"] == queues:
            masks = affinity.irq_create_affinity_masks(queues + 1, irq_affinity(pre_vectors=1))
            for queue, desc in enumerate((masks or [])[1:]):
                for cpu in desc.mask:
                    qmap.mq_map[cpu] = queue
        elif queues:
            blk_mq_cpumap.blk_mq_map_queues(qmap)
        users: dict[int, list[int]] = {}
        for cpu, queue in enumerate(qmap.mq_map if queues else ()):
            users.setdefault(queue, []).append(cpu)
        hctxs += [{"index": offset + queue, "type": TYPES[kind], "cpus": cpus} for queue, cpus in sorted(users.items())]
        offset += queues
    return {"hctxs": hctxs}


DEFAULT_MAP = ("virtio_blk", "loop", "nbd", "ublkb", "xvd", "rbd", "mmcblk", "dm", "scsi virtio_scsi",
               "scsi storvsc_host")
"""Those that are not NVMe or null_blk, and leave it to the kernel which CPU uses which of several queues."""


def not_modelled(machine: dict[str, Any], case: dict[str, Any], release: str) -> str:
    """Why nothing can be said of a case; nothing where something can."""
    if machine.get("isolated", "").strip() and releases.version(release) >= (6, 1, 0):
        return "CPUs are isolated, which later kernels take out of what a queue shows"
    if case["driver"] not in (*_DRIVERS, *DEFAULT_MAP) and case["device"]["queues"] > 1:
        return f"{case['driver']} may have a map of its own"
    return ""


_DRIVERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {"null_blk": _null_blk, "nvme": _nvme}


def _of_queue(q: request_queue) -> dict[str, Any]:
    """What sysfs and debugfs show of a request queue.

    A hardware queue without CPUs has no directory there; a queue that takes bios has no hardware queues.
    """
    used = [hctx for hctx in queue_for_each_hw_ctx(q) if hctx.nr_ctx]
    seen = {"nr_requests": q.nr_requests,
            "scheduler": q.elevator.type.elevator_name if q.elevator else "none",
            "hctxs": [{"index": hctx.queue_num, "type": TYPES[hctx.type], "cpus": list(hctx.cpumask),
                       "nr_tags": hctx.tags.nr_tags, "nr_reserved_tags": hctx.tags.nr_reserved_tags}
                      for hctx in used]}
    if used and used[0].queue_num == 0:
        tags = used[0].tags.bitmap_tags
        seen["sbitmap"] = {"depth": tags.sb.depth, "bits_per_word": 1 << tags.sb.shift, "map_nr": tags.sb.map_nr,
                           "wake_batch": tags.wake_batch}
    return seen


def compare_case(on: Machine, case: dict[str, Any], chance: Counter[str] | None = None,
                 release: str = RELEASE) -> list[str]:
    """Return how the model differs from a case of a recording, a line for each fact; no line where it agrees.

    chance: counts what only the model tells.
    """
    try:
        ours = observe(on, case["driver"], case["params"], _device(case), release)
    except Exception as why:  # a bug of the model, or what it refuses: the other cases are still to be compared
        return [f"the model fails: {type(why).__name__}: {why}"]
    seen = case["observed"]
    if case["driver"] not in _DRIVERS:
        seen = {"hctxs": [{name: fact for name, fact in hctx.items() if name in ("index", "type", "cpus")}
                          for hctx in seen["hctxs"]]}
    return list(_differences(seen, ours, "", Counter() if chance is None else chance))


def _device(case: dict[str, Any]) -> dict[str, Any] | None:
    """The controller of a case. Where its vectors are not told, they are as many as QEMU's, or more where the kernel
    had more: n queues with an interrupt prove n + 1 of them."""
    if case["driver"] != "nvme" or "vectors" in case["device"]:
        return case.get("device")
    seen = case["observed"]
    queues = max(seen.get("queues", {}).get("default", 0) + seen.get("queues", {}).get("read", 0),
                 len(seen.get("irq_affinity", {}).keys() - {"admin"}),
                 0 if case["params"].get("poll_queues") else len(seen["hctxs"]),
                 sum(hctx.get("type") in ("default", "read") for hctx in seen["hctxs"]))
    return {**case["device"], "vectors": min(max(VECTORS, queues + 1), 2048)}


def _differences(recorded: Any, ours: Any, place: str, chance: Counter[str]) -> Iterator[str]:
    """Compare what the recording has; what only the model knows is no difference, and is counted, but of a list all
    must be there."""
    if isinstance(recorded, dict):
        for key in (ours or {}).keys() - recorded.keys():
            chance[f"facts that only the model tells: {key}"] += 1
        for key, value in recorded.items():
            yield from _differences(value, (ours or {}).get(key), f"{place}.{key}" if place else key, chance)
    elif isinstance(recorded, list) and any(isinstance(item, dict) for item in (*recorded, *(ours or ()))):
        if len(recorded) != len(ours or []):
            yield f"{place}: the kernel has {len(recorded)}, the model {len(ours or [])}"
        for i, (theirs, our) in enumerate(zip(recorded, ours or [], strict=False)):
            yield from _differences(theirs, our, f"{place}[{i}]", chance)
    elif recorded != ours:
        yield f"{place}: the kernel has {_shown(recorded)}, the model {_shown(ours)}"


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return format_cpulist(value) or "none"
    return "nothing" if value is None else printable(str(value), keep="")


def describe(case: dict[str, Any]) -> str:
    """A case in words: its driver and the parameters that make it."""
    facts = {**case.get("device", {}), **case["params"]}
    named = [case["disk"]] if "disk" in case else []
    return printable(" ".join([*named, case["driver"], *(f"{name}={value}" for name, value in facts.items())]), keep="")
