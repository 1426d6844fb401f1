"""The bus: who answers where, and that nobody answers elsewhere."""

import pytest

import blkmodel
from blkmodel.services.devices.io import lo_hi_readq, lo_hi_writeq, readl, writel
from blkmodel.sim.bus import ALL_ONES, bus


class Registers:
    """A device of plain registers, which notes the order in which they are used."""

    def __init__(self):
        self.values = {}
        self.used = []

    def read_register(self, offset):
        self.used.append(offset)
        return self.values.get(offset, 0)

    def write_register(self, offset, value):
        self.used.append(offset)
        self.values[offset] = value


def test_each_window_is_its_devices():
    blkmodel.boot(1)
    first, second = Registers(), Registers()
    bus().attach(0x10000, 0x2000, first)
    bus().attach(0x12000, 0x1000, second)
    writel(7, 0x11FFC)
    writel(8, 0x12000)
    assert first.values == {0x1FFC: 7}
    assert second.values == {0: 8}
    assert readl(0x11FFC) == 7
    assert bus().windows == [(0x10000, 0x2000), (0x12000, 0x1000)]


def test_where_nobody_answers():
    blkmodel.boot(1)
    device = Registers()
    bus().attach(0x10000, 0x1000, device)
    writel(1, 0x11000)
    assert readl(0x11000) == ALL_ONES
    bus().detach(device)
    assert readl(0x10000) == ALL_ONES
    assert bus().windows == []
    assert device.used == []


def test_windows_do_not_overlap():
    blkmodel.boot(1)
    bus().attach(0x10000, 0x2000, Registers())
    with pytest.raises(AssertionError, match="answers at 0x11000 already"):
        bus().attach(0x11000, 0x1000, Registers())


def test_64_bits_are_two_accesses_the_lower_half_first():
    blkmodel.boot(1)
    device = Registers()
    bus().attach(0x10000, 0x1000, device)
    lo_hi_writeq(0x1122334455667788, 0x10028)
    assert device.values == {0x28: 0x55667788, 0x2C: 0x11223344}
    assert lo_hi_readq(0x10028) == 0x1122334455667788
    assert device.used == [0x28, 0x2C] * 2
