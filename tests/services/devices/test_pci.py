"""Configuration space, windows, and whether a device is there."""

from itertools import pairwise

from blkmodel.device.controller import Controller
from blkmodel.device.nvme import plug_in
from blkmodel.include.linux import nvme
from blkmodel.services.base.err import EBUSY
from blkmodel.services.devices.pci import (PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY, PCI_DEVICE_ID,
    PCI_STATUS, PCI_VENDOR_ID, PCIBIOS_DEVICE_NOT_FOUND, PCIBIOS_SUCCESSFUL, pci_channel_io_perm_failure,
    pci_channel_offline, pci_device_is_present, pci_disable_device, pci_enable_device_mem, pci_is_enabled,
    pci_read_config_word, pci_release_mem_regions, pci_request_mem_regions, pci_resource_len, pci_set_master,
    pci_write_config_word)
from tests.device.host import Host


def test_who_it_is():
    host = Host()
    assert pci_read_config_word(host.pdev, PCI_VENDOR_ID) == (PCIBIOS_SUCCESSFUL, 0x1B36) == (0, host.pdev.vendor)
    assert pci_read_config_word(host.pdev, PCI_DEVICE_ID) == (PCIBIOS_SUCCESSFUL, 0x0010) == (0, host.pdev.device)
    assert pci_read_config_word(host.pdev, PCI_STATUS)[1] not in (0, 0xFFFF)
    assert pci_resource_len(host.pdev, 0) == host.controller.window


def test_enabling_counts_and_lets_it_answer():
    host = Host()
    pdev = host.pdev
    assert pci_is_enabled(pdev)
    assert pci_enable_device_mem(pdev) == 0
    pci_disable_device(pdev)
    assert pci_is_enabled(pdev)
    assert host.controller.pci_command == PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER
    pci_disable_device(pdev)
    assert not pci_is_enabled(pdev)
    assert host.controller.pci_command == PCI_COMMAND_MEMORY
    pci_set_master(pdev)
    assert pci_read_config_word(pdev, PCI_COMMAND)[1] == PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER


def test_only_the_command_register_can_be_written():
    host = Host()
    pci_write_config_word(host.pdev, PCI_VENDOR_ID, 7)
    assert pci_read_config_word(host.pdev, PCI_VENDOR_ID)[1] == 0x1B36


def test_windows_have_one_user():
    pdev = Host().pdev
    assert pci_request_mem_regions(pdev, "nvme") == 0
    assert pci_request_mem_regions(pdev, "other") == -EBUSY
    pci_release_mem_regions(pdev)
    assert pci_request_mem_regions(pdev, "other") == 0


def test_a_device_that_is_gone():
    host = Host()
    assert pci_device_is_present(host.pdev)
    host.controller.unplug()
    assert not pci_device_is_present(host.pdev)
    assert pci_read_config_word(host.pdev, PCI_STATUS) == (PCIBIOS_SUCCESSFUL, 0xFFFF)
    assert not pci_channel_offline(host.pdev)


def test_a_device_that_the_kernel_knows_is_gone_is_not_asked():
    host = Host()
    host.pdev.error_state = pci_channel_io_perm_failure
    assert pci_channel_offline(host.pdev)
    assert not pci_device_is_present(host.pdev)
    assert pci_read_config_word(host.pdev, PCI_VENDOR_ID) == (PCIBIOS_DEVICE_NOT_FOUND, 0xFFFF)
    assert pci_write_config_word(host.pdev, PCI_COMMAND, 0) == PCIBIOS_DEVICE_NOT_FOUND
    assert host.controller.pci_command


def test_several_devices_have_places_of_their_own():
    host = Host()
    others = [plug_in(Controller(pairs)) for pairs in (600, 2, 1)]
    spans = [pdev.resource[0] for pdev in (host.pdev, *others)]
    assert all(start % length == 0 for start, length in spans)
    covered = sorted(spans)
    assert all(a + length <= b for (a, length), (b, _) in pairwise(covered))
    assert len({pdev.dev.kobj.name for pdev in (host.pdev, *others)}) == 4
    host.write(nvme.NVME_REG_CC, 0)
    assert [pdev._device.configuration for pdev in others] == [0, 0, 0]
