"""The bus on which processors reach devices' registers: windows of addresses, each answered by one device.

A device has read_register(offset) and write_register(offset, value), of 32 bits each. Where no device answers, a read
brings all ones and a write is lost, as on PCI.
"""

from typing import Any

from blkmodel.sim.kernel import statics

ALL_ONES = 0xFFFFFFFF
SHIFT = 12


class bus(statics):
    """Who answers where: number of a page of addresses → (start of the window, device). `windows`: (start, bytes) of
    each window, in the order in which they were attached."""

    def __init__(self) -> None:
        self.pages: dict[int, tuple[int, Any]] = {}
        self.windows: list[tuple[int, int]] = []

    def attach(self, start: int, size: int, device: Any) -> None:
        """Let a device answer from `start` on. Both are multiples of a page."""
        for page in range(start >> SHIFT, start + size >> SHIFT):
            assert page not in self.pages, f"a device answers at {page << SHIFT:#x} already"
            self.pages[page] = start, device
        self.windows.append((start, size))

    def detach(self, device: Any) -> None:
        """Take a device off the bus."""
        self.pages = {page: held for page, held in self.pages.items() if held[1] is not device}
        self.windows = [window for window in self.windows if window[0] >> SHIFT in self.pages]

    def read(self, addr: int) -> int:
        """Read a register."""
        start, device = self.pages.get(addr >> SHIFT, (0, None))
        return ALL_ONES if device is None else device.read_register(addr - start)

    def write(self, addr: int, value: int) -> None:
        """Write a register."""
        start, device = self.pages.get(addr >> SHIFT, (0, None))
        if device is not None:
            device.write_register(addr - start, value)
