"""The driver on controllers of all kinds: what is read is what was written, and unplugging leaves nothing behind."""

from random import Random
from typing import Any

import pytest

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.faults import COMMAND, DISABLE, ENABLE, FATAL, GONE, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.errors import KernelError
from blkmodel.include.linux.nvme import NVME_VS
from blkmodel.services.devices.device import devices
from blkmodel.sim import booted
from blkmodel.sim.bus import bus
from blkmodel.sim.interrupts import interrupts

KINDS: dict[str, dict[str, Any]] = {
    "as QEMU": {}, "stride": {"stride": 2}, "small transfers": {"mdts": 1}, "any transfers": {"mdts": 0},
    "no descriptors": {"sgl": False}, "a pin": {"vectors": 0}, "one vector": {"vectors": 1}, "two": {"vectors": 2},
    "no doorbells in memory": {"dbbuf": False}, "no cache": {"write_cache": False},
    "namespaces": {"namespaces": {1: Namespace(), 2: Namespace(4096, 12), 7: Namespace(64)}},
    "slow to get ready": {"ready_time": 250_000_000}, "time": {"service": Service(10_000, 20_000, in_order=False)},
    "any order": {"service": Service(in_order=False, seed=5)}, "short rings": {"mqes": 1},
    "one pair": {"queue_pairs": 1},
    "fewer granted": {"granted": 2}, "fewer usable": {"usable": 2}, "NVMe 1.1": {"version": NVME_VS(1, 1, 0)},
    "one event": {"events": 1}}


def live(kernel):
    return {addr: (each.kind, each.size) for addr, each in kernel.memory.live.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_data_and_departure(kind):
    with booted(4) as kernel:
        before = live(kernel)
        controller = Controller(**KINDS[kind])
        name = scenario.nvme_probe(controller=controller)
        draw = Random(1)
        for number in range(6):
            offset = draw.randrange(200) * 4096
            length = draw.choice([512, 4096, 65536, 300 << 10, 1 << 20])
            data = draw.randbytes(length)
            runs = [-(-length // 4096)] if number % 2 else None
            scenario.io("nvme0n1", "write", offset, length, cpu=number % 4, data=data, page_runs=runs)
            assert scenario.io("nvme0n1", "read", offset, length, cpu=(number + 1) % 4, page_runs=runs) == data
        disks = sorted(each for each in devices().nodes if each.startswith("nvme0n"))
        assert disks == [f"nvme0n{i}" for i in range(1, 1 + len(controller.namespaces))]
        scenario.nvme_remove(name)
        scenario.nvme_unload()
        assert live(kernel) == before
        assert bus().windows == []
        assert interrupts().entries.keys() == set()


FAULTS = [
    *(Fault(effect, at=at) for at in (ENABLE, DISABLE, SHUTDOWN) for effect in (STUCK, FATAL, GONE)),
    *(Fault(effect, at=COMMAND, nth=nth, queue=0) for effect in (SILENT, FATAL, GONE) for nth in (1, 3, 5, 8, 16))]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.effect}-{fault.at}-{fault.nth}")
def test_a_controller_that_fails_while_it_comes_up(fault):
    """It is given up or it works; either way nothing is left, and the next controller works."""
    with booted(4) as kernel:
        before = live(kernel)
        fault.seen = 0
        controller = Controller(faults=[fault])
        error = ""
        try:
            name = scenario.nvme_probe(controller=controller)
        except KernelError as why:
            error = why.name
        if error:
            assert error in ("ENODEV", "EIO", "EINTR")
            assert any("failure" in line for line in kernel.log)
        else:
            scenario.nvme_remove(name)
        scenario.nvme_unload()
        assert live(kernel) == before
        assert bus().windows == []
        scenario.nvme_probe(controller=Controller())
        assert scenario.io("nvme0n1", "read", 0, 512) == bytes(512)
