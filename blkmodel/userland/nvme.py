"""nvme-cli 2.3: `nvme list`, `nvme list-subsys`, `nvme id-ctrl`, by what the driver shows, and what Identify answers.

Controllers and subsystems come in the order in which a real tool reads their directory: that of their names' hashes.
"""

from collections.abc import Callable, Sequence
from typing import Any

from blkmodel.drivers.nvme.host import core
from blkmodel.errors import KernelError
from blkmodel.services import EIO, dev_get_drvdata, dev_name, device, devices, kernfs_name_hash, kfree
from blkmodel.sim import this, wire
from blkmodel.userland.tools import known

_LIST = (("Node", 21), ("Generic", 21), ("SN", 20), ("Model", 40), ("Namespace", 9), ("Usage", 26), ("Format", 16),
         ("FW Rev", 8))


def run(words: Sequence[str]) -> str:
    """Do `nvme WORDS…`, and return what it prints. ValueError or KeyError says what is wrong with the words,
    KernelError what the controller answered."""
    name, *rest = words or [""]
    if name not in COMMANDS:
        raise ValueError(f"expected {', '.join(COMMANDS)}; found {name or 'none'}")
    if len(rest) != (name == "id-ctrl"):
        wanted = "one device, such as /dev/nvme0" if name == "id-ctrl" else "no more words"
        raise ValueError(f"{name}: expected {wanted}; found {' '.join(rest) or 'none'}")
    return str(this().task("nvme", COMMANDS[name], *rest))


def _of_class(name: str) -> list[device]:
    return sorted(devices().of_class.get(name, ()), key=lambda dev: kernfs_name_hash(dev_name(dev)))


def _answered(status: int, id: Any, what: str) -> Any:
    """What a controller answered; KernelError, with what was asked, where that is an error."""
    if status:
        raise KernelError(status if status < 0 else -EIO, what, [])
    return id


def _list() -> str:
    rows = [[name for name, _ in _LIST], ["-" * width for _, width in _LIST]]
    for dev in _of_class("nvme"):
        ctrl = dev_get_drvdata(dev)
        for ns in sorted(ctrl.namespaces, key=lambda ns: kernfs_name_hash(ns.disk.disk_name)):
            node, subsys = ns.disk.disk_name, ctrl.subsys
            serial, model, firmware = (each.decode("latin-1") for each in (
                subsys.serial, subsys.model, subsys.firmware_rev))
            id = _answered(*core.nvme_identify_ns(ctrl, ns.head.ns_id), f"nvme list: Identify of {node}")
            lbaf = id.lbaf[id.flbas & 15]
            used, size = (_scaled(blocks << lbaf.ds, 1000, "kMGTP", "6.2f") for blocks in (id.nuse, id.nsze))
            rows.append([f"/dev/{node}", node.replace("nvme", "ng", 1), serial.strip(), model.strip(),
                         str(ns.head.ns_id), f"{used} / {size}",
                         f"{_scaled(1 << lbaf.ds, 1024, 'KMGTP', '3.0f', 'i')} + {lbaf.ms:2} B", firmware])
            kfree(id)
    return "".join(" ".join(f"{cell:{width}}" for cell, (_, width) in zip(row, _LIST, strict=True)) + "\n"
                   for row in rows)


def _scaled(value: float, base: int, units: str, form: str, binary: str = "") -> str:
    """Bytes with a prefix of two places: " 67.11  MB"."""
    power = 0
    while value >= base and power < len(units):
        value, power = value / base, power + 1
    return f"{value:{form}} {units[power - 1] + binary if power else '':>2}B"


def _list_subsys() -> str:
    lines = []
    for dev in _of_class("nvme-subsystem"):
        subsys = dev._owner
        lines += [f"{dev_name(dev)} - NQN={subsys.subnqn}", "\\"]
        for ctrl in sorted(subsys.ctrls, key=lambda ctrl: kernfs_name_hash(dev_name(ctrl.device))):
            files = ctrl.device.kobj.attrs
            said = [files[name].show(ctrl.device).strip() for name in ("transport", "address", "state")]
            lines.append(f" +- {dev_name(ctrl.device)} {' '.join(said)}")
    return "".join(f"{line}\n" for line in lines)


def _id_ctrl(path: str) -> str:
    """What a controller says of itself, by the controller's name or a disk's: every field, in nvme-cli's order."""
    there = {dev_name(dev): dev_get_drvdata(dev) for dev in _of_class("nvme")}
    nodes = there | {ns.disk.disk_name: ctrl for ctrl in there.values() for ns in ctrl.namespaces}
    if (name := path.removeprefix("/dev/")) not in nodes:
        raise KeyError(f"there is no NVMe device {path!r}; there is "
                       f"{', '.join(f'/dev/{each}' for each in nodes) or 'none'}")
    id = _answered(*core.nvme_identify_ctrl(nodes[name]), f"nvme id-ctrl {path}")
    said = wire.pack(id)
    kfree(id)
    lines = ["NVME Identify Controller:"]
    for field, place in known("nvme id-ctrl fields").items():
        offset, length, form = place.split(":")
        lines.append(f"{field:10}: {_FORMS[form](said[int(offset):int(offset) + int(length)])}")
    for number in range(said[263] + 1):
        state = said[2048 + 32 * number:]
        power, enlat, exlat = (int.from_bytes(state[at:at + size], "little") for at, size in ((0, 2), (4, 4), (8, 4)))
        rrt, rrl, rwt, rwl = state[12:16]
        lines += [f"ps {number:6} : mp:{power / 100:.2f}W {'non-' * (state[3] >> 1 & 1)}operational enlat:{enlat} "
                  f"exlat:{exlat} rrt:{rrt} rrl:{rrl}",
                  f"{'':12}rwt:{rwt} rwl:{rwl} idle_power:- active_power:-", f"{'':12}active_power_workload:-"]
    return "\n".join([*lines, ""])


_FORMS: dict[str, Callable[[bytes], str]] = {
    "d": lambda data: str(int.from_bytes(data, "little")), "s": lambda data: data.decode("latin-1").rstrip("\0"),
    "x": lambda data: f"{int.from_bytes(data, 'little'):#x}" if any(data) else "0", "r": lambda data: data[::-1].hex(),
    "u": lambda data: "-".join(data.hex()[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))}
"""How a field's bytes are said: as a number, a text, a hexadecimal number, its bytes from the last on, a UUID."""
COMMANDS: dict[str, Callable[..., str]] = {"list": _list, "list-subsys": _list_subsys, "id-ctrl": _id_ctrl}
