"""Who stands for which device numbers."""

import pytest

from blkmodel import boot
from blkmodel.services.base.kdev_t import MKDEV
from blkmodel.services.devices.kobj_map import kobj_lookup, kobj_map, kobj_map_init, kobj_unmap


@pytest.mark.parametrize("range_", [0, 1, 16, 1 << 20])
@pytest.mark.parametrize("minor", [0, 1])
def test_a_range_that_is_removed_leaves_nothing(minor, range_):
    kernel = boot(1)
    domain = kobj_map_init(lambda devt, data: None)
    before = kernel.memory.totals()
    dev = MKDEV(259, minor)
    assert kobj_map(domain, dev, range_, None, lambda devt, data: data, None, "disk") == 0
    assert kobj_lookup(domain, dev) == (("disk", 0) if range_ else (None, 0))
    kobj_unmap(domain, dev, range_)
    assert kobj_lookup(domain, dev) == (None, 0)
    assert kernel.memory.totals() == before
