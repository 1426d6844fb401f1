"""A controller that is up: what the tests of the driver begin with."""

import contextlib

import blkmodel
from blkmodel import scenario
from blkmodel.device import identify
from blkmodel.device.controller import Controller
from blkmodel.drivers.nvme.host import pci
from blkmodel.include.linux.nvme import nvme_id_ctrl, nvme_id_ns
from blkmodel.sim import this, wire

TYPES = "default", "read", "poll"


def up(cpus=4, node=None, params=None, **controller):
    """Boot, and bring such a controller up. Returns its nvme_dev; the controller itself is at hand as device_of()."""
    blkmodel.boot(cpus)
    return probe(node, params, **controller)


def probe(node=None, params=None, **controller):
    """Bring one more up on the kernel that runs."""
    return scenario.nvme_controller(scenario.nvme_probe(controller=Controller(**controller), node=node,
                                                        **(params or {})))


def log(since=0):
    """The lines of the kernel's log from that one on, those of the controller without its name."""
    return [line.removeprefix("nvme nvme0: ") for line in this().log[since:]]


def device_of(dev):
    return dev.dev._owner._device


def io_queues(controller, which="sqs"):
    """The numbers of the I/O queues that a controller has."""
    return sorted(getattr(controller.engine, which).keys() - {0})


def polled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_POLLED & 1]


def enabled(dev):
    return [q.qid for q in dev.queues if q.flags >> pci.NVMEQ_ENABLED & 1]


def left(kernel):
    """What is allocated, after whatever had to be freed later; nothing may wait, and nobody have warned."""
    kernel.loop.run_due()
    assert kernel.loop.pending() == []
    assert not [line for line in kernel.log if "WARNING" in line]
    return kernel.memory.totals()


@contextlib.contextmanager
def watched(*kinds):
    """While this is on, the list that it gives grows by what passes between kernel and controller, as (kind, what the
    observer is told)."""
    seen: list[tuple] = []
    kernel = blkmodel.sim.this()

    def observe(kind, **told):
        if kind in kinds:
            seen.append((kind, told))
    kernel.observer = observe
    try:
        yield seen
    finally:
        del kernel.observer


def commands(seen, qid=None):
    """The commands among what was seen, of one queue or of all that are for I/O."""
    return [told["command"] for kind, told in seen
            if kind == "command" and (told["queue"] == qid if qid is not None else told["queue"])]


def says(monkeypatch, namespace=None, **fields):
    """Let every controller answer Identify with other fields: of itself, or of one of its namespaces (0: all)."""
    which, cls = (1, nvme_id_ctrl) if namespace is None else (0, nvme_id_ns)
    answer = identify._IDENTIFY[which]

    def altered(controller, command):
        said = answer(controller, command)
        if not said or namespace not in (None, 0, command.nsid):
            return said
        thing = cls()
        wire.unpack(thing, said)
        for name, value in fields.items():
            setattr(thing, name, value(getattr(thing, name)) if callable(value) else value)
        return wire.pack(thing)
    monkeypatch.setitem(identify._IDENTIFY, which, altered)
