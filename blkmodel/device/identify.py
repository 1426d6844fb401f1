"""The Identify command: what a controller says of itself and of its namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blkmodel.device.namespace import Namespace
from blkmodel.device.queues import Running
from blkmodel.device.transfer import Refused, to_host
from blkmodel.include.linux.nvme import (NVME_AEN_CFG_NS_ATTR, NVME_CTRL_LPA_CMD_EFFECTS_LOG, NVME_CTRL_OACS_DBBUF_SUPP,
    NVME_CTRL_ONCS_DSM, NVME_CTRL_ONCS_TIMESTAMP, NVME_CTRL_ONCS_WRITE_ZEROES, NVME_CTRL_VWC_PRESENT,
    NVME_IDENTIFY_DATA_SIZE, NVME_NIDT_EUI64, NVME_NIDT_NGUID, NVME_NIDT_UUID, NVME_NSID_ALL, NVME_SC_INVALID_FIELD,
    NVME_SC_INVALID_NS, nvme_id_ctrl, nvme_id_ns, nvme_identify, nvme_lbaf, nvme_ns_id_desc)
from blkmodel.services import PCI_VENDOR_ID_REDHAT, PCI_VENDOR_ID_REDHAT_QUMRANET
from blkmodel.sim import wire

if TYPE_CHECKING:
    from blkmodel.device.controller import Controller

NAMESPACES = 256  # the highest number that a namespace can have
FORMATS = ((9, 0), (9, 8), (9, 16), (9, 64), (12, 0), (12, 8), (12, 16), (12, 64))
POWER = (2500).to_bytes(4, "little") + (16).to_bytes(4, "little") + (4).to_bytes(4, "little")
"""Its one state of power: hundredths of a watt at most, microseconds to enter and to leave it."""
OFFSETS, SGL_ANY_ALIGNMENT, SUBNQN = 1 << 2, 1, "nqn.2019-08.org.qemu:"


def identify(controller: Controller, running: Running) -> int:
    """Bring the host what it asks of the controller or a namespace: a page."""
    command = wire.view(nvme_identify, running.command)
    if (answer := _IDENTIFY.get(command.cns)) is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    to_host(controller, command, answer(controller, command).ljust(NVME_IDENTIFY_DATA_SIZE, b"\0"))
    return 0


def _identify_controller(controller: Controller, command: nvme_identify) -> bytes:
    """What the controller is."""
    return wire.pack(nvme_id_ctrl(
        vid=PCI_VENDOR_ID_REDHAT, ssvid=PCI_VENDOR_ID_REDHAT_QUMRANET, sn=controller.serial.encode().ljust(20),
        mn=controller.model.encode().ljust(40), fr=controller.firmware.encode().ljust(8),
        rab=6, ieee=b"\x00\x54\x52", mdts=controller.mdts, ver=controller.version, oaes=NVME_AEN_CFG_NS_ATTR,
        oacs=NVME_CTRL_OACS_DBBUF_SUPP if controller.dbbuf else 0, acl=3, aerl=controller.events - 1, frmw=3,
        lpa=NVME_CTRL_LPA_CMD_EFFECTS_LOG | OFFSETS, wctemp=343, cctemp=373, sqes=0x66, cqes=0x44, nn=NAMESPACES,
        oncs=(controller.dsm and NVME_CTRL_ONCS_DSM) | (controller.write_zeroes and NVME_CTRL_ONCS_WRITE_ZEROES)
        | NVME_CTRL_ONCS_TIMESTAMP,
        vwc=NVME_CTRL_VWC_PRESENT | 3 << 1 if controller.write_cache else 0,
        sgls=SGL_ANY_ALIGNMENT if controller.sgl else 0, subnqn=(SUBNQN + controller.serial).encode(), psd=POWER))


def _identify_namespace(controller: Controller, command: nvme_identify) -> bytes:
    """What a namespace is: zeros, where there is none of that number."""
    if (namespace := namespace_of(controller, command.nsid)) is None:
        return b""
    formats = [nvme_lbaf(ms, ds) for ds, ms in FORMATS]
    shift = namespace.shift
    index = next((i for i, (ds, ms) in enumerate(FORMATS) if (ds, ms) == (shift, 0)), len(FORMATS))
    if index == len(FORMATS):
        formats.append(nvme_lbaf(0, shift))
    return wire.pack(nvme_id_ns(
        nsze=namespace.blocks, ncap=namespace.blocks, nuse=namespace.blocks, nsfeat=1 << 2 | 1 << 4,
        nlbaf=len(formats) - 1, flbas=index, nguid=namespace.nguid, eui64=namespace.eui64,
        lbaf=formats + [nvme_lbaf() for _ in range(16 - len(formats))]))


def _list_namespaces(controller: Controller, command: nvme_identify) -> bytes:
    """The numbers of the namespaces above a number, as many as there is room for."""
    if command.nsid >= NVME_NSID_ALL - 1:
        raise Refused(NVME_SC_INVALID_NS)
    found = sorted(nsid for nsid in controller.namespaces if nsid > command.nsid)[:NVME_IDENTIFY_DATA_SIZE // 4]
    return b"".join(nsid.to_bytes(4, "little") for nsid in found)


def _describe_namespace(controller: Controller, command: nvme_identify) -> bytes:
    """The names of a namespace."""
    if (namespace := namespace_of(controller, command.nsid)) is None:
        raise Refused(NVME_SC_INVALID_FIELD)
    names = ((NVME_NIDT_UUID, namespace.uuid), (NVME_NIDT_NGUID, namespace.nguid), (NVME_NIDT_EUI64, namespace.eui64))
    return b"".join(wire.pack(nvme_ns_id_desc(kind, len(name))) + name for kind, name in names if name)


_IDENTIFY: dict[int, Callable[[Controller, nvme_identify], bytes]] = {
    0: _identify_namespace, 1: _identify_controller, 2: _list_namespaces, 3: _describe_namespace}


def namespace_of(controller: Controller, nsid: int) -> Namespace | None:
    """The namespace of a number that one could have; None where none has it."""
    if not 1 <= nsid <= NAMESPACES:
        raise Refused(NVME_SC_INVALID_NS)
    return controller.namespaces.get(nsid)
