"""Machines with a disk for load."""

from contextlib import contextmanager

from blkmodel import scenario
from blkmodel.device.controller import Controller
from blkmodel.device.namespace import Namespace
from blkmodel.device.service import Service
from blkmodel.sim import booted


@contextmanager
def nvme(cpus=4, sectors=1 << 20, params=(), pairs=None, **service):
    """A machine with a disk nvme0n1, whose controller takes its time as `service` says. Yields the controller."""
    with booted(cpus):
        service = {"in_order": not service.get("extra")} | service
        controller = Controller(queue_pairs=pairs or cpus, vectors=(pairs or cpus) + 1, service=Service(**service),
                                namespaces={1: Namespace(sectors)})
        scenario.nvme_probe(controller=controller, **dict(params))
        yield controller
