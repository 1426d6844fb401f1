"""What a controller says of itself, of its namespaces, and in its logs."""

import pytest

from blkmodel.device.namespace import Namespace
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_SC_DNR, nvme_data_ptr
from blkmodel.services.memory.slab import kcalloc, kzalloc
from blkmodel.sim import wire
from tests.device.host import Host, pages


def ask(host, cns, nsid=0, addr=None):
    """Identify into a page; return the completion's status and the page's bytes."""
    page = pages(1)
    command = nvme.nvme_identify(opcode=nvme.nvme_admin_identify, cns=cns, nsid=nsid,
                                 dptr=nvme_data_ptr(addr or page._addr))
    return host.code(command), page.read(0, 4096)


def test_the_controller_as_the_recordings_have_it():
    host = Host()
    said = kzalloc(nvme.nvme_id_ctrl, 0)
    assert ask(host, nvme.NVME_ID_CNS_CTRL, addr=said._addr)[0] == 0
    assert (said.vid, said.ssvid, said.ver) == (0x1B36, 0x1AF4, nvme.NVME_VS(1, 4, 0))
    assert (said.sn, said.mn.strip(), said.fr.strip()) == (b"0001".ljust(20), b"QEMU NVMe Ctrl", b"7.2")
    assert said.mdts == 7
    assert said.oacs & nvme.NVME_CTRL_OACS_DBBUF_SUPP
    assert not said.oacs & (nvme.NVME_CTRL_OACS_DIRECTIVES | nvme.NVME_CTRL_OACS_SEC_SUPP)
    assert said.oaes == nvme.NVME_AEN_CFG_NS_ATTR
    assert said.lpa & nvme.NVME_CTRL_LPA_CMD_EFFECTS_LOG
    assert said.oncs == (nvme.NVME_CTRL_ONCS_DSM | nvme.NVME_CTRL_ONCS_WRITE_ZEROES
                         | nvme.NVME_CTRL_ONCS_TIMESTAMP)
    assert said.vwc & nvme.NVME_CTRL_VWC_PRESENT
    assert (said.sqes, said.cqes) == (nvme.NVME_NVM_IOSQES * 0x11, nvme.NVME_NVM_IOCQES * 0x11)
    assert said.subnqn.rstrip(b"\0") == b"nqn.2019-08.org.qemu:0001"


def test_the_controller_says_what_it_can_do():
    host = Host(sgl=False, dbbuf=False, write_cache=False, dsm=False, write_zeroes=False, mdts=3, serial="x")
    said = kzalloc(nvme.nvme_id_ctrl, 0)
    ask(host, nvme.NVME_ID_CNS_CTRL, addr=said._addr)
    assert (said.sgls, said.oacs, said.vwc, said.mdts) == (0, 0, 0, 3)
    assert said.oncs == nvme.NVME_CTRL_ONCS_TIMESTAMP


@pytest.mark.parametrize(("namespace", "index"), [(Namespace(), 0), (Namespace(100, 12), 4), (Namespace(7, 13), 8)])
def test_a_namespace(namespace, index):
    host = Host(namespaces={3: namespace})
    said = kzalloc(nvme.nvme_id_ns, 0)
    assert ask(host, nvme.NVME_ID_CNS_NS, 3, said._addr)[0] == 0
    assert said.nsze == said.ncap == namespace.blocks
    assert said.flbas & nvme.NVME_NS_FLBAS_LBA_MASK == index
    assert (said.lbaf[index].ds, said.lbaf[index].ms) == (namespace.shift, 0)
    assert said.nlbaf >= index


def test_a_namespace_that_is_not_there_is_zeros():
    host = Host()
    assert ask(host, nvme.NVME_ID_CNS_NS, 2) == (0, bytes(4096))
    for nsid in (0, 257, 0xFFFFFFFF):
        assert ask(host, nvme.NVME_ID_CNS_NS, nsid)[0] == nvme.NVME_SC_INVALID_NS | NVME_SC_DNR


def test_active_namespaces_in_order_after_a_number():
    host = Host(namespaces={7: Namespace(), 2: Namespace(), 5: Namespace()})
    assert ask(host, nvme.NVME_ID_CNS_NS_ACTIVE_LIST)[1][:16] == bytes([2, 0, 0, 0, 5, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0])
    numbers = kcalloc(1024, "u32", 0)
    assert ask(host, nvme.NVME_ID_CNS_NS_ACTIVE_LIST, 2, numbers._addr)[0] == 0
    assert numbers[:3] == [5, 7, 0]
    for nsid in (0xFFFFFFFE, 0xFFFFFFFF):
        assert ask(host, nvme.NVME_ID_CNS_NS_ACTIVE_LIST, nsid)[0] == nvme.NVME_SC_INVALID_NS | NVME_SC_DNR


def test_names_of_a_namespace():
    named = Namespace(uuid=bytes(range(16)), nguid=bytes(range(16, 32)), eui64=bytes(range(32, 40)))
    host = Host(namespaces={1: named, 2: Namespace()})
    code, data = ask(host, nvme.NVME_ID_CNS_NS_DESC_LIST, 1)
    assert code == 0
    found, at = {}, 0
    while data[at]:
        head = nvme.nvme_ns_id_desc()
        wire.unpack(head, data[at:at + 4])
        found[head.nidt] = data[at + 4:at + 4 + head.nidl]
        at += 4 + head.nidl
    assert found == {nvme.NVME_NIDT_UUID: named.uuid, nvme.NVME_NIDT_NGUID: named.nguid,
                     nvme.NVME_NIDT_EUI64: named.eui64}
    assert ask(host, nvme.NVME_ID_CNS_NS_DESC_LIST, 2) == (0, bytes(4096))
    assert ask(host, nvme.NVME_ID_CNS_NS_DESC_LIST, 3)[0] == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR
    assert ask(host, nvme.NVME_ID_CNS_NS_DESC_LIST, 0)[0] == nvme.NVME_SC_INVALID_NS | NVME_SC_DNR


def test_nothing_else_can_be_asked():
    assert ask(Host(), 0x1F)[0] == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_an_answer_that_crosses_a_page():
    host = Host()
    page, other = pages(1), pages(1)
    command = nvme.nvme_identify(opcode=nvme.nvme_admin_identify, cns=1,
                                 dptr=nvme_data_ptr(page._addr + 4096 - 8, other._addr))
    assert host.code(command) == 0
    assert page.read(4088, 8) + other.read(0, 24) == b"\x36\x1b\xf4\x1a" + b"0001".ljust(20) + b"QEMU NVM"


@pytest.mark.parametrize("bad", [{"shift": 8}, {"shift": 17}, {"blocks": 0}, {"nguid": b"1"}, {"eui64": b"1"},
                                 {"uuid": b"1"}])
def test_impossible_namespaces(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Namespace(**bad)


# Logs.

def log(host, lid, nsid=0xFFFFFFFF, length=4096, **fields):
    page = pages(1)
    command = nvme.nvme_get_log_page_command(
        **{"opcode": nvme.nvme_admin_get_log_page, "nsid": nsid, "lid": lid, "numdl": length // 4 - 1,
           "dptr": nvme_data_ptr(page._addr)} | fields)
    return host.code(command), page.read(0, 4096)


def test_effects_of_commands():
    host = Host()
    effects = kzalloc(nvme.nvme_effects_log, 0)
    code, _ = log(host, nvme.NVME_LOG_CMD_EFFECTS, dptr=nvme_data_ptr(effects._addr))
    assert code == 0
    assert effects.acs[nvme.nvme_admin_identify] == nvme.NVME_CMD_EFFECTS_CSUPP
    assert effects.iocs[nvme.nvme_cmd_read] == nvme.NVME_CMD_EFFECTS_CSUPP
    assert effects.iocs[nvme.nvme_cmd_write] == nvme.NVME_CMD_EFFECTS_CSUPP | nvme.NVME_CMD_EFFECTS_LBCC
    assert {opcode for opcode in range(256) if effects.acs[opcode]} == set(host.controller.admin)
    assert {opcode for opcode in range(256) if effects.iocs[opcode]} == set(host.controller.io)


def test_a_part_of_a_log():
    effects = log(Host(), nvme.NVME_LOG_CMD_EFFECTS)[1]
    assert log(Host(), nvme.NVME_LOG_CMD_EFFECTS, length=4, lpo=1024)[1][:8] == effects[1024:1028] + bytes(4)
    assert effects[1024:1028] != bytes(4)


@pytest.mark.parametrize(("fields", "code"), [
    ({"lid": nvme.NVME_LOG_SMART}, nvme.NVME_SC_INVALID_LOG_PAGE), ({"lpo": 2}, nvme.NVME_SC_INVALID_FIELD),
    ({"lpo": 4096}, nvme.NVME_SC_INVALID_FIELD), ({"numdu": 2}, nvme.NVME_SC_INVALID_FIELD)])
def test_logs_that_cannot_be_had(fields, code):
    assert log(Host(), **{"lid": nvme.NVME_LOG_CMD_EFFECTS} | fields)[0] == code | NVME_SC_DNR
