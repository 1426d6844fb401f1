"""Scenarios of a driver and its controller, and all that passes between the two."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from blkmodel import scenario as user
from blkmodel.device import ENABLE, FAIL, FATAL, GONE, SILENT, STUCK, Controller, Fault
from blkmodel.include.linux.nvme import NVME_SC_READ_ERROR
from blkmodel.sim import booted
from blkmodel.trace import record
from blkmodel.trace.on_bus import passings
from blkmodel.view.facts.words import attempt

BUS_SCENARIOS = {"bring a controller up": "probe", "read 4 KiB": "read-4k", "read 1 MiB": "read-1m",
                 "write 8 KiB": "write-8k", "take it down": "remove",
                 "a controller that never gets ready": "stuck", "a read that fails once": "fail",
                 "a read that is never answered": "silent", "a controller that breaks": "fatal",
                 "the same, with doorbells in memory": "fatal-shadow", "a controller that is pulled out": "gone"}
_FAULTS = {"stuck": Fault(STUCK, at=ENABLE), "fail": Fault(FAIL, queue=1, status=NVME_SC_READ_ERROR),
           "silent": Fault(SILENT, queue=1), "fatal": Fault(FATAL, queue=1),
           "fatal-shadow": Fault(FATAL, queue=1), "gone": Fault(GONE, queue=1)}


@lru_cache(maxsize=16)
def bus_passings(scenario: str) -> tuple[Any, ...]:
    """What passes in a scenario, on a machine of 4 CPUs; and how it ends, where not well: the kernel's error."""
    with booted(4):
        controller = Controller(dbbuf=scenario != "fatal")
        if scenario not in ("probe", "stuck"):
            user.nvme_probe(controller=controller)
        if scenario in _FAULTS:
            controller.faults.append(replace(_FAULTS[scenario]))
        recording = record(attempt, _act, scenario, controller, watched=())
        return tuple(passings(recording)), recording.result or ""


def _act(scenario: str, controller: Controller) -> None:
    if scenario in ("probe", "stuck"):
        user.nvme_probe(controller=controller)
    elif scenario == "remove":
        user.nvme_remove()
    elif scenario in _FAULTS:
        user.io("nvme0n1", "read", 0, 4096)
    else:
        op, size = scenario.split("-")
        user.io("nvme0n1", op, 0, int(size[:-1]) << (20 if size.endswith("m") else 10), cpu=1)
