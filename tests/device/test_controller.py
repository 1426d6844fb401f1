"""The controller's registers, what it says of itself, enabling and disabling, and its vectors."""

import pytest

import blkmodel
from blkmodel.device.controller import Controller
from blkmodel.include.linux import nvme
from blkmodel.sim.interrupts import interrupts
from tests.device.host import ENABLED, Host


@pytest.mark.parametrize(("pairs", "vectors", "size"), [(64, 65, 16384), (1, 1, 16384), (511, 65, 16384),
                                                        (512, 65, 32768), (64, 2048, 65536)])
def test_window(pairs, vectors, size):
    assert Controller(pairs, vectors).window == size


@pytest.mark.parametrize("bad", [{"queue_pairs": 0}, {"queue_pairs": 65536}, {"vectors": -1}, {"vectors": 2049},
                                 {"mqes": 0}, {"mqes": 65536}, {"mdts": -1}, {"stride": 11}, {"page_min": 16},
                                 {"timeout": 256}, {"events": 0}, {"ready_time": -1}, {"granted": 0}, {"granted": 65},
                                 {"page_max": 16}])
def test_impossible_controllers(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}: it must be"):
        Controller(**bad)


def test_a_masked_vector_is_sent_once_it_may():
    kernel = blkmodel.boot(2)
    controller, seen = Controller(), []
    interrupts().connect((1, 50), "x", lambda: seen.append(kernel.cpu))
    controller.messages[3] = 1, 50
    controller.mask(3, True)
    controller.interrupt(3)
    controller.interrupt(3)
    kernel.loop.run_due()
    assert seen == []
    controller.mask(3, False)
    kernel.loop.run_due()
    assert seen == [1]
    controller.interrupt(4)
    kernel.loop.run_due()
    assert seen == [1]


def test_capabilities():
    host = Host(enable=False, mqes=1023, stride=2, page_min=1, page_max=3, timeout=20)
    cap = host.readq(nvme.NVME_REG_CAP)
    assert nvme.NVME_CAP_MQES(cap) == 1023
    assert nvme.NVME_CAP_STRIDE(cap) == 2
    assert (nvme.NVME_CAP_MPSMIN(cap), nvme.NVME_CAP_MPSMAX(cap)) == (1, 3)
    assert nvme.NVME_CAP_TIMEOUT(cap) == 20
    assert nvme.NVME_CAP_NSSRC(cap) == 0
    assert host.read(nvme.NVME_REG_VS) == nvme.NVME_VS(1, 4, 0)
    assert host.read(nvme.NVME_REG_CMBSZ) == host.read(nvme.NVME_REG_CMBLOC) == 0


def test_enabling_and_disabling():
    host = Host(enable=False)
    assert host.status == 0
    host.enable()
    assert host.status == nvme.NVME_CSTS_RDY
    assert host.read(nvme.NVME_REG_CC) == ENABLED
    assert host.readq(nvme.NVME_REG_ASQ) == host.admin.sq_addr
    assert host.readq(nvme.NVME_REG_ACQ) == host.admin.cq_addr
    assert host.read(nvme.NVME_REG_AQA) == 31 << 16 | 31
    host.write(nvme.NVME_REG_CC, 0)
    assert host.status == 0
    assert host.controller.engine.cqs == host.controller.engine.sqs == {}


def test_shutting_down_makes_what_was_written_last():
    host = Host()
    namespace = host.controller.namespaces[1]
    namespace.write(0, b"x" * 512, through=False)
    host.write(nvme.NVME_REG_CC, ENABLED | nvme.NVME_CC_SHN_NORMAL)
    assert host.status == nvme.NVME_CSTS_RDY | nvme.NVME_CSTS_SHST_CMPLT
    namespace.lose_power()
    assert namespace.read(0, 512) == b"x" * 512
    host.write(nvme.NVME_REG_CC, 0)
    host.enable()
    assert host.status == nvme.NVME_CSTS_RDY


def test_getting_ready_takes_time():
    host = Host(ready_time=3_000)
    assert host.status == 0
    host.kernel.loop.advance(2_999)
    assert host.status == 0
    host.kernel.loop.advance(1)
    assert host.status == nvme.NVME_CSTS_RDY
    host.write(nvme.NVME_REG_CC, ENABLED | nvme.NVME_CC_SHN_NORMAL)
    assert host.status == nvme.NVME_CSTS_RDY | nvme.NVME_CSTS_SHST_OCCUR
    host.kernel.loop.advance(3_000)
    assert host.status == nvme.NVME_CSTS_RDY | nvme.NVME_CSTS_SHST_CMPLT


def test_a_controller_that_is_disabled_meanwhile_does_not_get_ready():
    host = Host(ready_time=3_000)
    host.write(nvme.NVME_REG_CC, 0)
    host.kernel.loop.advance(10_000)
    assert host.status == 0


@pytest.mark.parametrize(("register", "value"), [
    (nvme.NVME_REG_AQA, 31), (nvme.NVME_REG_AQA, 31 << 16), (nvme.NVME_REG_ASQ, 8), (nvme.NVME_REG_ACQ, 0x800),
    (nvme.NVME_REG_CC, ENABLED | 1 << nvme.NVME_CC_CSS_SHIFT), (nvme.NVME_REG_CC, ENABLED | 5 << 7)])
def test_what_cannot_be_enabled_is_broken(register, value):
    host = Host(enable=False)
    host.write(nvme.NVME_REG_AQA, 31 << 16 | 31)
    host.write(nvme.NVME_REG_ASQ, host.admin.sq_addr & 0xFFFFFFFF)
    host.write(nvme.NVME_REG_ACQ, host.admin.cq_addr & 0xFFFFFFFF)
    host.write(register, value)
    if register != nvme.NVME_REG_CC:
        host.write(nvme.NVME_REG_CC, ENABLED)
    assert host.status == nvme.NVME_CSTS_CFS


def test_an_unplugged_controller_reads_as_ones():
    host = Host()
    host.controller.unplug()
    assert host.read(nvme.NVME_REG_CSTS) == host.read(nvme.NVME_REG_VS) == 0xFFFFFFFF
    host.write(nvme.NVME_REG_CC, 0)
    host.doorbell(0, 0, 1)
    host.run()
    assert host.raised == []
