"""How commands go through: rings that wrap, full ones, turns, order, time, interrupts, and what goes wrong."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.device.faults import DISABLE, ENABLE, FAIL, FATAL, GONE, SHUTDOWN, SILENT, STUCK, Fault
from blkmodel.device.service import Service
from blkmodel.include.linux import nvme
from blkmodel.services.devices.pci import pci_disable_device
from blkmodel.sim.interrupts import interrupts
from blkmodel.trace import Command, Completion, Doorbell, Enter, Interrupt, RegisterRead, RegisterWrite, record
from tests.device.host import ENABLED, Host, pages, transfer

read = nvme.nvme_cmd_read


def submit(queue, numbers, addr):
    for number in numbers:
        queue.put(transfer(read, 0, 1, addr, command_id=number))
    queue.ring()


def numbers(queue, **ring):
    return [entry.command_id for entry in queue.take_all(**ring)]


@settings(max_examples=50)
@given(st.integers(2, 9), st.integers(2, 9), st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_rings_wrap(depth, cq_depth, bursts):
    """Every command is answered once, in order, however the rings' lengths and the bursts fall."""
    host = Host()
    queue = host.queue(1, depth, cq_depth)
    page = pages(1)
    next_id, answered = 0, []
    for burst in bursts:
        burst = min(burst, depth - 1)
        submit(queue, range(next_id, next_id + burst), page._addr)
        next_id += burst
        host.run()
        for _ in range(depth):
            answered += numbers(queue)
            host.run()
        assert host.controller.engine.sqs[1].head == queue.tail
    assert answered == list(range(next_id))


def test_a_completion_says_how_far_the_commands_were_read():
    host = Host()
    queue = host.queue(1, 4)
    submit(queue, range(3), pages(1)._addr)
    host.run()
    found = queue.take_all()
    assert [(entry.sq_head, entry.sq_id) for entry in found] == [(3, 1)] * 3
    assert [entry.status & 1 for entry in found] == [1, 1, 1]
    submit(queue, range(3, 5), pages(1)._addr)
    host.run()
    assert [(entry.sq_head, entry.status & 1) for entry in queue.take_all()] == [(1, 1), (1, 0)]


def test_a_full_queue_holds_completions_back():
    host = Host()
    queue = host.queue(1, 8, cq_depth=3, vector=1)
    host.raised.clear()
    submit(queue, range(5), pages(1)._addr)
    host.run()
    assert numbers(queue, ring=False) == [0, 1]
    assert host.raised == [1]
    host.doorbell(1, 1, 1)  # room for one
    host.run()
    assert numbers(queue) == [2]
    host.run()
    assert numbers(queue) == [3, 4]
    assert host.raised == [1, 1, 1]


def test_queues_have_their_turns():
    host = Host()
    queues = [host.queue(1), host.queue(2, cqid=1), host.queue(3, cqid=1)]
    page = pages(1)
    for queue, count in zip(queues, (3, 1, 2), strict=True):
        submit(queue, range(count), page._addr)
    host.run()
    assert [entry.sq_id for entry in queues[0].take_all()] == [1, 2, 3, 1, 3, 1]


def test_nothing_happens_beneath_the_doorbell():
    host = Host()
    queue = host.queue(1)
    submit(queue, [1], pages(1)._addr)
    assert host.controller.engine.sqs[1].head == 0
    assert queue.take() is None
    host.run()
    assert numbers(queue) == [1]


def test_commands_that_nobody_wrote_are_zeros():
    host = Host()
    host.queue(1)
    host.doorbell(1, 0, 1)
    host.run()
    assert host.controller.engine.cqs[1].tail == 1  # a flush of no namespace, refused


@given(st.integers(0, 20))
def test_an_order_that_is_drawn(seed):
    host = Host(service=Service(in_order=False, seed=seed))
    queue = host.queue(1)
    submit(queue, range(10), pages(1)._addr)
    host.run()
    found = numbers(queue)
    assert sorted(found) == list(range(10))
    again = Host(service=Service(in_order=False, seed=seed))
    queue = again.queue(1)
    submit(queue, range(10), pages(1)._addr)
    again.run()
    assert numbers(queue) == found


def test_orders_differ():
    orders = set()
    for seed in range(5):
        host = Host(service=Service(in_order=False, seed=seed))
        queue = host.queue(1)
        submit(queue, range(10), pages(1)._addr)
        host.run()
        orders.add(tuple(numbers(queue)))
    assert len(orders) == 5


def test_time_is_taken():
    host = Host(service=Service(least=1000))
    queue = host.queue(1)
    submit(queue, range(2), pages(1)._addr)
    host.kernel.loop.advance(999)
    assert numbers(queue) == []
    host.kernel.loop.advance(1)
    assert numbers(queue) == [0, 1]


def test_one_ends_after_another():
    host = Host(service=Service(least=1000, apart=10))
    queue = host.queue(1)
    submit(queue, range(3), pages(1)._addr)
    ended = []
    for nanoseconds in (1000, 9, 1, 10):
        host.kernel.loop.advance(nanoseconds)
        ended.append(len(numbers(queue)))
    assert ended == [1, 0, 1, 1]


@settings(max_examples=30)
@given(st.booleans(), st.integers(0, 100), st.integers(0, 5000), st.integers(1, 5000))
def test_times_and_order(in_order, seed, least, extra):
    host = Host(service=Service(least, extra, in_order, seed))
    queue = host.queue(1, 32)
    page = pages(1)
    start = host.kernel.now
    submit(queue, range(20), page._addr)
    found, times = [], []
    while host.kernel.loop.run_one():
        if new := numbers(queue):
            found += new
            times += [host.kernel.now - start] * len(new)
    assert sorted(found) == list(range(20))
    assert min(times) >= least
    if in_order:
        assert found == list(range(20))


def test_the_mean_is_what_was_asked_for():
    service = Service(least=100, extra=900, seed=3)
    times = [service.time() for _ in range(20_000)]
    assert min(times) >= 100
    assert abs(sum(times) / len(times) - 1000) < 30


def test_servers_take_the_first_that_waits():
    """Three commands of 100 ns for two servers, and one that comes later."""
    service = Service(least=100, servers=2)
    assert [service.end(now) for now in (0, 0, 10, 350)] == [100, 100, 200, 450]


def test_quantiles_are_what_is_drawn():
    """A tenth below 20, and half of all between 80 and 100; between two any time is as likely."""
    service = Service(quantiles=((0.0, 10), (0.1, 20), (0.5, 80), (1.0, 100)), seed=1)
    times = sorted(service.time() for _ in range(10_000))
    assert 10 <= times[0] <= times[-1] <= 100
    for at, wanted in ((1000, 20), (3000, 50), (5000, 80), (7500, 90)):
        assert abs(times[at] - wanted) < 2


@pytest.mark.parametrize("bad", [{"least": -1}, {"extra": -1}, {"apart": -1}, {"servers": -1}])
def test_impossible_times(bad):
    with pytest.raises(ValueError, match="0 or more"):
        Service(**bad)


@pytest.mark.parametrize("bad", [((0, 1),), ((0, 5), (1, 4)), ((0.1, 1), (1, 2)), ((0, 1), (0.5, 2)),
                                 ((0, 1), (0, 2), (1, 3)), ((0, -1), (1, 2))])
def test_impossible_quantiles(bad):
    with pytest.raises(ValueError, match="quantiles"):
        Service(quantiles=bad)


# Interrupts.

def test_a_queue_interrupts_by_its_vector_or_not_at_all():
    host = Host()
    queues = [host.queue(1, vector=7), host.queue(2)]
    host.raised.clear()
    for queue in queues:
        submit(queue, range(3), pages(1)._addr)
    host.run()
    assert host.raised == [7]


def test_a_pin_is_up_until_all_is_taken():
    host = Host(vectors=0)
    queue = host.queue(1, vector=0)
    host.raised.clear()
    submit(queue, range(3), pages(1)._addr)
    host.run()
    assert host.raised == [0]
    host.doorbell(1, 1, 1)
    host.run()
    assert host.raised == [0, 0]
    host.doorbell(1, 1, 3)
    host.run()
    assert host.raised == [0, 0]


def test_a_pin_can_be_masked():
    host = Host(vectors=0)
    queue = host.queue(1, vector=0)
    host.raised.clear()
    host.write(nvme.NVME_REG_INTMS, 1)
    assert host.read(nvme.NVME_REG_INTMS) == host.read(nvme.NVME_REG_INTMC) == 1
    submit(queue, range(3), pages(1)._addr)
    host.run()
    assert host.raised == []
    host.write(nvme.NVME_REG_INTMC, 1)
    host.run()
    assert host.raised == [0]


def test_a_vector_that_is_raised_again_before_it_is_taken_runs_once():
    host = Host()
    host.raised.clear()
    target = host.controller.messages[5]
    for _ in range(3):
        interrupts().message(target)
    host.run()
    interrupts().message(target)
    host.run()
    assert host.raised == [5, 5]


# What the recorder sees.

def test_what_passes_on_the_bus_is_recorded():
    host = Host()
    queue = host.queue(1, vector=1)
    page = pages(1)

    def step():
        host.read(nvme.NVME_REG_CSTS)
        submit(queue, [4], page._addr)
        host.run()
        queue.take_all()
        host.write(nvme.NVME_REG_CC, 0)
    recording = record(step)
    device = host.controller
    seen = [event for event in recording.events if type(event) in (
        Command, Completion, Doorbell, Interrupt, RegisterRead, RegisterWrite)]
    now = host.kernel.now
    assert seen == [
        RegisterRead(device, nvme.NVME_REG_CSTS, nvme.NVME_CSTS_RDY, now), Doorbell(device, 1, "sq", 1, now),
        Command(device, 1, 0, queue.sq[0].common, now), Completion(device, 1, 0, queue.cq[0], now),
        Interrupt(device, 1, now), Doorbell(device, 1, "cq", 1, now), RegisterWrite(device, nvme.NVME_REG_CC, 0, now)]
    kinds = [recording.contexts[event.context].kind for event in recording.of(Enter)]
    assert kinds == ["device", "irq"]


# What goes wrong.

@pytest.mark.parametrize("nth", [1, 3])
def test_a_command_fails(nth):
    host = Host(faults=[Fault(FAIL, nth=nth, queue=1, status=nvme.NVME_SC_WRITE_FAULT)])
    queue = host.queue(1)
    page = pages(1)
    codes = [host.code(transfer(read, 0, 1, page._addr), queue) for _ in range(4)]
    assert codes == [nvme.NVME_SC_WRITE_FAULT if n == nth else 0 for n in range(1, 5)]


def test_every_command_of_a_kind_fails():
    host = Host(faults=[Fault(FAIL, nth=0, opcode=nvme.nvme_admin_identify, status=nvme.NVME_SC_INTERNAL)])
    for _ in range(3):
        assert host.code(nvme.nvme_identify(opcode=nvme.nvme_admin_identify)) == nvme.NVME_SC_INTERNAL
    assert host.code(nvme.nvme_delete_queue(opcode=0, qid=9)) == nvme.NVME_SC_QID_INVALID | nvme.NVME_SC_DNR


def test_a_command_is_never_answered_until_it_is_aborted():
    host = Host(faults=[Fault(SILENT, queue=1)])
    queue = host.queue(1)
    page = pages(1)
    submit(queue, [1, 2], page._addr)
    host.run()
    assert numbers(queue) == [2]
    assert host.code(nvme.nvme_abort_cmd(opcode=nvme.nvme_admin_abort_cmd, sqid=1, cid=1)) == 0
    assert numbers(queue) == [1]


def test_a_command_breaks_the_controller():
    host = Host(faults=[Fault(FATAL, nth=2, queue=1)])
    queue = host.queue(1)
    submit(queue, range(4), pages(1)._addr)
    host.run()
    assert host.status == nvme.NVME_CSTS_RDY | nvme.NVME_CSTS_CFS
    assert numbers(queue) == []
    host.write(nvme.NVME_REG_CC, 0)
    assert host.status == 0


def test_a_command_makes_it_vanish():
    host = Host(faults=[Fault(GONE, queue=1)])
    queue = host.queue(1, vector=1)
    host.raised.clear()
    submit(queue, range(4), pages(1)._addr)
    host.run()
    assert host.status == 0xFFFFFFFF
    assert numbers(queue) == host.raised == []


@pytest.mark.parametrize(("effect", "status"), [(STUCK, 0), (FATAL, nvme.NVME_CSTS_CFS), (GONE, 0xFFFFFFFF)])
def test_enabling_goes_wrong_once(effect, status):
    host = Host(faults=[Fault(effect, at=ENABLE)])
    host.kernel.loop.advance(10_000_000_000)
    assert host.status == status
    if effect != GONE:
        host.write(nvme.NVME_REG_CC, 0)
        host.enable()
        assert host.status == nvme.NVME_CSTS_RDY


@pytest.mark.parametrize(("effect", "status"), [(STUCK, 1), (FATAL, 3), (GONE, 0xFFFFFFFF)])
def test_disabling_goes_wrong(effect, status):
    host = Host(faults=[Fault(effect, at=DISABLE)])
    host.write(nvme.NVME_REG_CC, 0)
    assert host.status == status


@pytest.mark.parametrize(("effect", "status"), [(STUCK, 1 | nvme.NVME_CSTS_SHST_OCCUR), (FATAL, 3),
                                                (GONE, 0xFFFFFFFF)])
def test_shutting_down_goes_wrong(effect, status):
    host = Host(faults=[Fault(effect, at=SHUTDOWN)])
    host.write(nvme.NVME_REG_CC, ENABLED | nvme.NVME_CC_SHN_NORMAL)
    assert host.status == status


@pytest.mark.parametrize("bad", [{"effect": STUCK}, {"effect": FAIL, "at": ENABLE}, {"effect": FAIL, "status": 0},
                                 {"effect": FATAL, "at": "night"}, {"effect": SILENT, "nth": -1}])
def test_impossible_faults(bad):
    with pytest.raises(ValueError, match=r"at=|effect=|status=|nth="):
        Fault(**bad)


def test_a_reset_ends_what_is_under_way():
    """Nothing of the host's memory is touched any more."""
    host = Host(service=Service(least=1000))
    queue = host.queue(1)
    page = pages(1)
    page.write(0, b"mine")
    submit(queue, range(3), page._addr)
    host.run()
    host.write(nvme.NVME_REG_CC, 0)
    host.kernel.loop.advance(10_000)
    assert page.read(0, 4) == b"mine"
    assert numbers(queue) == []


def test_without_leave_to_use_memory_it_does_nothing():
    host = Host()
    queue = host.queue(1)
    submit(queue, range(3), pages(1)._addr)
    pci_disable_device(host.pdev)
    host.run()
    assert numbers(queue) == []


ACTS = st.lists(st.tuples(st.sampled_from(["submit", "submit", "event", "take", "abort", "time"]), st.integers(1, 3),
                          st.integers(1, 4)), max_size=40)


@settings(max_examples=60)
@given(ACTS, st.booleans(), st.integers(0, 3000), st.integers(0, 1 << 16))
def test_every_command_is_answered_once(acts, in_order, extra, seed):
    """Whatever the host does meanwhile: many queues, small rings, completions taken late, commands aborted."""
    host = Host(service=Service(extra=extra, in_order=in_order, seed=seed))
    queues = {1: host.queue(1, 8, cq_depth=5, vector=1), 2: host.queue(2, 4), 3: host.queue(3, 8, cqid=1)}
    addr = pages(1)._addr
    waiting: set[tuple[int, int]] = set()
    answered: list[tuple[int, int]] = []
    serial = 0

    def take(number):
        for entry in queues[number].take_all():
            answered.append((entry.sq_id, entry.command_id))
            waiting.remove((entry.sq_id, entry.command_id))
            assert entry.status >> 1 in (0, nvme.NVME_SC_ABORT_REQ)
    for act, number, count in acts:
        queue = queues[number]
        if act == "submit":
            room = queue.depth - 1 - sum(each == number for each, _ in waiting)
            fresh = range(serial, serial + min(count, room))
            serial += len(fresh)
            waiting |= {(number, each) for each in fresh}
            submit(queue, fresh, addr)
        elif act == "event":
            host.kernel.loop.run_one()
        elif act == "time":
            host.kernel.loop.advance(500 * count)
        elif act == "abort" and waiting:
            sqid, cid = min(waiting)
            host.do(nvme.nvme_abort_cmd(opcode=nvme.nvme_admin_abort_cmd, sqid=sqid, cid=cid))
        elif number < 3:
            take(number)
    while waiting:
        before = len(waiting)
        while host.kernel.loop.run_one():
            pass
        take(1)
        take(2)
        assert len(waiting) < before
    assert len(answered) == len(set(answered)) == serial
