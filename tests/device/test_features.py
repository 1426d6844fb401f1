"""What the host can set, and what comes of it."""

import pytest

from blkmodel.device.namespace import Namespace
from blkmodel.include.linux import nvme
from blkmodel.include.linux.nvme import NVME_SC_DNR, nvme_data_ptr
from blkmodel.services.memory.slab import kcalloc, kzalloc
from tests.device.host import Host, pages, transfer


def change(host, fid, value=0, **fields):
    return host.code(nvme.nvme_features(opcode=nvme.nvme_admin_set_features, fid=fid, dword11=value, **fields))


def bring(host, fid, select=0, **fields):
    done = host.do(nvme.nvme_features(opcode=nvme.nvme_admin_get_features, fid=fid | select << 8, **fields))
    assert not done.status >> 1
    return done.result


SIMPLE = [(nvme.NVME_FEAT_ARBITRATION, 3, 0), (nvme.NVME_FEAT_POWER_MGMT, 0, 0),
          (nvme.NVME_FEAT_TEMP_THRESH, 400, 343), (nvme.NVME_FEAT_VOLATILE_WC, 0, 1),
          (nvme.NVME_FEAT_IRQ_COALESCE, 0x1234, 0), (nvme.NVME_FEAT_WRITE_ATOMIC, 1, 0),
          (nvme.NVME_FEAT_ASYNC_EVENT, 0x100, 0)]


@pytest.mark.parametrize(("fid", "value", "default"), SIMPLE)
def test_set_get_and_reset(fid, value, default):
    host = Host()
    assert bring(host, fid) == default
    assert change(host, fid, value) == 0
    assert bring(host, fid) == value
    assert bring(host, fid, select=1) == default
    assert bring(host, fid, select=3) == 4
    host.write(nvme.NVME_REG_CC, 0)
    host.admin.tail = host.admin.head = 0
    host.admin.phase = 1
    host.admin.cq[:] = [None] * host.admin.cq_depth
    host.enable()
    assert bring(host, fid) == default


def test_the_number_of_queues_is_what_the_controller_has():
    host = Host(queue_pairs=8, granted=3)
    done = host.do(nvme.nvme_features(opcode=nvme.nvme_admin_set_features, fid=nvme.NVME_FEAT_NUM_QUEUES,
                                      dword11=99 | 99 << 16))
    assert (done.status >> 1, done.result) == (0, 2 | 2 << 16)
    assert bring(host, nvme.NVME_FEAT_NUM_QUEUES) == 2 | 2 << 16
    for value in (0xFFFF, 0xFFFF0000):
        assert change(host, nvme.NVME_FEAT_NUM_QUEUES, value) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR
    host.queue(1)
    assert change(host, nvme.NVME_FEAT_NUM_QUEUES, 0) == nvme.NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR


@pytest.mark.parametrize(("fid", "fields", "code"), [
    (0x77, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_AUTO_PST, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_HOST_MEM_BUF, {}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_ARBITRATION | 1 << 31, {}, nvme.NVME_SC_FEATURE_NOT_SAVEABLE),
    (nvme.NVME_FEAT_ARBITRATION, {"nsid": 1}, nvme.NVME_SC_FEATURE_NOT_PER_NS),
    (nvme.NVME_FEAT_ARBITRATION, {"nsid": 1000}, nvme.NVME_SC_INVALID_NS),
    (nvme.NVME_FEAT_ERR_RECOVERY, {"nsid": 2}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_POWER_MGMT, {"value": 1}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_TEMP_THRESH, {"value": 2 << 20}, nvme.NVME_SC_INVALID_FIELD),
    (nvme.NVME_FEAT_IRQ_CONFIG, {"value": 65}, nvme.NVME_SC_INVALID_FIELD)])
def test_what_cannot_be_set(fid, fields, code):
    assert change(Host(), fid, **fields) == code | NVME_SC_DNR


def test_what_cannot_be_got():
    host = Host()
    for fields in ({"fid": 0x77}, {"fid": nvme.NVME_FEAT_ARBITRATION | 4 << 8},
                   {"fid": nvme.NVME_FEAT_IRQ_CONFIG, "dword11": 65},
                   {"fid": nvme.NVME_FEAT_TEMP_THRESH, "dword11": 3 << 20}):
        command = nvme.nvme_features(opcode=nvme.nvme_admin_get_features, **fields)
        assert host.code(command) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR
    assert host.code(nvme.nvme_features(opcode=nvme.nvme_admin_get_features, fid=nvme.NVME_FEAT_VOLATILE_WC)) == 0
    host = Host(write_cache=False)
    command = nvme.nvme_features(opcode=nvme.nvme_admin_get_features, fid=nvme.NVME_FEAT_VOLATILE_WC)
    assert host.code(command) == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR


def test_error_recovery_is_a_namespaces_own():
    host = Host()
    assert change(host, nvme.NVME_FEAT_ERR_RECOVERY, 5, nsid=1) == 0
    assert bring(host, nvme.NVME_FEAT_ERR_RECOVERY, nsid=1) == 5
    assert bring(host, nvme.NVME_FEAT_ERR_RECOVERY, select=3, nsid=1) == 6
    assert change(host, nvme.NVME_FEAT_ERR_RECOVERY, 6, nsid=0xFFFFFFFF) == 0


def test_temperatures():
    host = Host()
    side, sensor = 1 << 20, 1 << 16
    assert bring(host, nvme.NVME_FEAT_TEMP_THRESH, dword11=side) == 0
    assert change(host, nvme.NVME_FEAT_TEMP_THRESH, side | 273) == 0
    assert bring(host, nvme.NVME_FEAT_TEMP_THRESH, dword11=side) == 273
    assert bring(host, nvme.NVME_FEAT_TEMP_THRESH, select=1) == 343
    assert bring(host, nvme.NVME_FEAT_TEMP_THRESH, select=1, dword11=side) == 0
    assert change(host, nvme.NVME_FEAT_TEMP_THRESH, sensor | 1) == 0
    assert bring(host, nvme.NVME_FEAT_TEMP_THRESH, dword11=sensor) == 0
    host.admin.put(nvme.nvme_common_command(opcode=nvme.nvme_admin_async_event, command_id=900))
    statuses = host.code_of_two(nvme.nvme_features(opcode=nvme.nvme_admin_set_features,
                                                   fid=nvme.NVME_FEAT_TEMP_THRESH, dword11=300))
    assert statuses == {900: 0, host.next_id: 0}  # it is hotter than that, which is an event


def test_the_write_cache_off_makes_writes_last():
    host = Host()
    queue = host.queue(1)
    page = pages(1)
    namespace = host.controller.namespaces[1]
    page.write(0, b"a" * 512)
    assert host.code(transfer(nvme.nvme_cmd_write, 0, 1, page._addr), queue) == 0
    assert change(host, nvme.NVME_FEAT_VOLATILE_WC, 0) == 0
    assert host.code(transfer(nvme.nvme_cmd_write, 1, 1, page._addr), queue) == 0
    namespace.lose_power()
    assert namespace.read(0, 1024) == b"a" * 1024


def test_time():
    host = Host()
    cell = kcalloc(1, "u64", 0)
    bring(host, nvme.NVME_FEAT_TIMESTAMP, dptr=nvme_data_ptr(cell._addr))
    assert cell == [0]
    cell[0] = 1_700_000_000_000
    assert change(host, nvme.NVME_FEAT_TIMESTAMP, dptr=nvme_data_ptr(cell._addr)) == 0
    host.kernel.loop.advance(5_000_000)
    bring(host, nvme.NVME_FEAT_TIMESTAMP, dptr=nvme_data_ptr(cell._addr))
    assert cell[0] & (1 << 48) - 1 == 1_700_000_000_005
    assert cell[0] >> 49 == 1  # it was set by the host


def test_power_states_by_itself():
    host = Host(apst=True, power_states=((900, 0, 0), (5, 50_000, 100_000)))
    table = kzalloc(nvme.nvme_feat_auto_pst, 0)
    table.entries[0] = 1 << 3 | 500 << 8
    assert change(host, nvme.NVME_FEAT_AUTO_PST, 1, dptr=nvme_data_ptr(table._addr)) == 0
    other = kzalloc(nvme.nvme_feat_auto_pst, 0)
    assert bring(host, nvme.NVME_FEAT_AUTO_PST, dptr=nvme_data_ptr(other._addr)) == 1
    assert other.entries == table.entries
    assert change(host, nvme.NVME_FEAT_POWER_MGMT, 1) == 0


def test_what_the_host_can_do():
    host = Host()
    said = kzalloc(nvme.nvme_feat_host_behavior, 0)
    said.acre = nvme.NVME_ENABLE_ACRE
    assert change(host, nvme.NVME_FEAT_HOST_BEHAVIOR, dptr=nvme_data_ptr(said._addr)) == 0
    said.acre = 0
    bring(host, nvme.NVME_FEAT_HOST_BEHAVIOR, dptr=nvme_data_ptr(said._addr))
    assert said.acre == nvme.NVME_ENABLE_ACRE


def lend(host, runs, count=None, total=None):
    """Offer pieces of memory of so many pages each."""
    descriptors = kcalloc(len(runs), nvme.nvme_host_mem_buf_desc, 0)
    for descriptor, run in zip(descriptors, runs, strict=True):
        descriptor.addr, descriptor.size = pages(max(run, 1))._addr, run
    at = descriptors._addr
    return descriptors, change(host, nvme.NVME_FEAT_HOST_MEM_BUF, nvme.NVME_HOST_MEM_ENABLE,
                               dword12=sum(runs) if total is None else total, dword13=at & 0xFFFFFFFF,
                               dword14=at >> 32, dword15=len(runs) if count is None else count)


def test_memory_of_the_host():
    host = Host(host_memory=(16, 4))
    assert bring(host, nvme.NVME_FEAT_HOST_MEM_BUF) == 0
    descriptors, code = lend(host, [2, 4])
    assert code == 0
    assert host.controller.features.buffers == [(each.addr, each.size * 4096) for each in descriptors]
    assert bring(host, nvme.NVME_FEAT_HOST_MEM_BUF) == nvme.NVME_HOST_MEM_ENABLE
    assert lend(host, [4])[1] == nvme.NVME_SC_CMD_SEQ_ERROR | NVME_SC_DNR
    assert change(host, nvme.NVME_FEAT_HOST_MEM_BUF, 0) == 0
    assert host.controller.features.buffers == []
    assert lend(host, [4])[1] == 0


@pytest.mark.parametrize("wrong", [{"runs": [3]}, {"runs": [4, 0]}, {"runs": [4], "count": 0},
                                   {"runs": [4], "total": 5}])
def test_memory_of_the_host_that_is_refused(wrong):
    host = Host(host_memory=(16, 4))
    assert lend(host, **wrong)[1] == nvme.NVME_SC_INVALID_FIELD | NVME_SC_DNR
    assert host.controller.features.buffers == []


# Interrupts that wait for each other.

def reads(host, queue, count):
    page = pages(1)
    for number in range(count):
        queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=number))
        queue.ring()
        host.run()


def test_interrupts_are_aggregated():
    """Four completions, or one that waits for 200 microseconds, are worth an interrupt."""
    host = Host()
    queue = host.queue(1, vector=1)
    assert change(host, nvme.NVME_FEAT_IRQ_COALESCE, 3 | 2 << 8) == 0
    host.raised.clear()
    reads(host, queue, 3)
    assert host.raised == []
    reads(host, queue, 1)
    assert host.raised == [1]
    reads(host, queue, 1)
    host.kernel.loop.advance(199_999)
    assert host.raised == [1]
    host.kernel.loop.advance(1)
    assert host.raised == [1, 1]
    host.kernel.loop.advance(1_000_000)
    assert host.raised == [1, 1]


def test_a_vector_can_be_left_out_of_aggregation():
    host = Host(vectors=3)
    queue = host.queue(1, vector=1)
    assert bring(host, nvme.NVME_FEAT_IRQ_CONFIG, dword11=0) == 1 << 16
    assert bring(host, nvme.NVME_FEAT_IRQ_CONFIG, dword11=1) == 1
    change(host, nvme.NVME_FEAT_IRQ_COALESCE, 3 | 2 << 8)
    assert change(host, nvme.NVME_FEAT_IRQ_CONFIG, 1 | 1 << 16) == 0
    assert bring(host, nvme.NVME_FEAT_IRQ_CONFIG, dword11=1) == 1 | 1 << 16
    host.raised.clear()
    reads(host, queue, 1)
    assert host.raised == [1]
    assert change(host, nvme.NVME_FEAT_IRQ_CONFIG, 1) == 0
    host.raised.clear()
    reads(host, queue, 1)
    assert host.raised == []


def test_a_queue_that_is_deleted_interrupts_no_more():
    host = Host()
    queue = host.queue(1, vector=1)
    change(host, nvme.NVME_FEAT_IRQ_COALESCE, 3 | 2 << 8)
    reads(host, queue, 1)
    for opcode in (nvme.nvme_admin_delete_sq, nvme.nvme_admin_delete_cq):
        assert host.code(nvme.nvme_delete_queue(opcode=opcode, qid=1)) == 0
    host.raised.clear()
    host.kernel.loop.advance(1_000_000)
    assert host.raised == []


def test_arbitration_bursts():
    host = Host(namespaces={1: Namespace()})
    first, second = host.queue(1), host.queue(2, cqid=1)
    change(host, nvme.NVME_FEAT_ARBITRATION, 1)
    page = pages(1)
    for queue in (first, second):
        for number in range(4):
            queue.put(transfer(nvme.nvme_cmd_read, 0, 1, page._addr, command_id=number))
        queue.ring()
    host.run()
    assert [entry.sq_id for entry in first.take_all()] == [1, 1, 2, 2, 1, 1, 2, 2]
