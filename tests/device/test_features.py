"""What the host can set, and what comes of it."""

import pytest

from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_SC_DNR, nvme_data_ptr
from blkmodel.services.memory.slab import kcalloc
from tests.device.host import Host


def change(host, fid, value=0, **fields):
    return host.code(nvme.nvme_features(opcode=nvme.nvme_admin_set_features, fid=fid, dword11=value, **fields))


def test_the_number_of_queues_is_what_the_controller_has():
    host = Host(queue_pairs=8, granted=3)
    done = host.do(nvme.nvme_features(opcode=nvme.nvme_admin_set_features, fid=nvme.NVME_FEAT_NUM_QUEUES,
                                      dword11=99 | 99 << 16))
    assert (done.status >> 1, done.result) == (0, 2 | 2 << 16)
    for value in (0xFFFF, 0xFFFF0000):
        assert change(host, nvme.NVME_FEAT_NUM_QUEUES, value) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR
    host.queue(1)
    assert change(host, nvme.NVME_FEAT_NUM_QUEUES, 0) == nvme.NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR


@pytest.mark.parametrize(("fid", "fields", "code"), [
    (0x77, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_AUTO_PST, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_HOST_MEM_BUF, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_ASYNC_EVENT | 1 << 31, {}, nvme.NVME_SC_FEATURE_NOT_SAVEABLE),
    (nvme.NVME_FEAT_ASYNC_EVENT, {"nsid": 1}, nvme.NVME_SC_FEATURE_NOT_PER_NS)])
def test_what_cannot_be_set(fid, fields, code):
    assert change(Host(), fid, **fields) == code | NVME_SC_DNR


def test_what_was_set_is_forgotten_in_a_reset():
    host = Host()
    cell = kcalloc(1, "u64", 0)
    cell[0] = 1_700_000_000_000
    assert change(host, nvme.NVME_FEAT_TIMESTAMP, dptr=nvme_data_ptr(cell._addr)) == 0
    assert change(host, nvme.NVME_FEAT_ASYNC_EVENT, nvme.NVME_AEN_CFG_NS_ATTR, nsid=nvme.NVME_NSID_ALL) == 0
    features = host.controller.features
    assert (features.timestamp, features.events) == (1_700_000_000_000, nvme.NVME_AEN_CFG_NS_ATTR)
    host.write(nvme.NVME_REG_CC, 0)
    features = host.controller.features
    assert (features.timestamp, features.events) == (0, 0)
