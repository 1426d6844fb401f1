"""What all schedulers share: who is registered, who is found, the merge hash, the trees."""

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel import boot
from blkmodel.block import elevator, kyber_iosched, mq_deadline
from blkmodel.include.linux.blk_mq import BLK_MQ_F_NO_SCHED, blk_mq_ops, blk_mq_tag_set
from blkmodel.include.linux.blk_types import REQ_NOMERGE
from blkmodel.include.linux.blkdev import RQF_HASHED, request, request_queue
from blkmodel.include.linux.elevator import elevator_queue, elevator_type
from blkmodel.services.base.bug import KernelBug
from blkmodel.services.base.err import EBUSY, EINVAL, EIO, ENOENT
from blkmodel.services.base.module import module
from blkmodel.services.data.rbtree import rb_root
from blkmodel.services.devices.kobject import KOBJ_ADD, kobject_put, sysfs


@pytest.fixture
def kernel():
    return boot(2)


def queue(**fields):
    return request_queue(mq_ops=blk_mq_ops(), nr_hw_queues=1, **fields)


def names():
    return [e.elevator_name for e in elevator.variables().elv_list]


def test_a_kernel_boots_with_its_schedulers(kernel):
    """In the order in which they are linked."""
    assert names() == ["mq-deadline", "kyber"]
    assert [line for line in kernel.log if line.startswith("io scheduler")] == [
        "io scheduler mq-deadline registered", "io scheduler kyber registered"]


def test_each_kernel_has_its_own(kernel):
    extra = elevator_type(elevator_name="noop")
    assert elevator.elv_register(extra) == 0
    assert names() == ["mq-deadline", "kyber", "noop"]
    with boot(1):
        assert names() == ["mq-deadline", "kyber"]


def test_a_name_is_registered_once(kernel):
    assert elevator.elv_register(elevator_type(elevator_name="mq-deadline")) == -EBUSY
    assert mq_deadline.deadline_init() == kyber_iosched.kyber_init() == -EBUSY
    assert names() == ["mq-deadline", "kyber"]


def test_found_by_name_alias_and_features(kernel):
    found = elevator.elevator_find("mq-deadline", 0)
    assert found is elevator.elevator_find("deadline", 1)
    assert elevator.elevator_find("mq-deadline", 2) is None
    assert elevator.elevator_find("bfq", 0) is None
    assert not elevator.elevator_match(elevator_type(elevator_name="x"), None, 1)


def test_one_hardware_queue_gets_mq_deadline_and_more_get_none(kernel):
    assert elevator.elevator_get_default(queue()).elevator_name == "mq-deadline"
    many = request_queue(mq_ops=blk_mq_ops(), nr_hw_queues=2)
    assert elevator.elevator_get_default(many) is None


def test_who_can_have_a_scheduler(kernel):
    assert elevator.elv_support_iosched(queue())
    assert not elevator.elv_support_iosched(request_queue())
    assert not elevator.elv_support_iosched(queue(tag_set=blk_mq_tag_set(flags=BLK_MQ_F_NO_SCHED)))


def test_what_the_scheduler_file_says(kernel):
    assert elevator.elv_iosched_show(request_queue()) == "none\n"
    assert elevator.elv_iosched_show(queue()).split() == ["[none]", "mq-deadline", "kyber"]
    with_one = queue(elevator=elevator_queue(type=elevator.elevator_find("mq-deadline", 0)))
    assert elevator.elv_iosched_show(with_one) == "[mq-deadline] kyber none\n"


def test_a_queue_that_is_not_registered_changes_nothing(kernel):
    q = queue()
    assert elevator.elv_iosched_store(q, "mq-deadline", 11) == -ENOENT
    assert elevator.elv_iosched_store(request_queue(), "rubbish", 7) == 7


def test_files_without_a_function_fail(kernel):
    eq = elevator.elevator_alloc(queue(), elevator.elevator_find("mq-deadline", 0))

    class Bare:
        show = store = None
    assert elevator.elv_attr_show(eq.kobj, Bare) == -EIO
    assert elevator.elv_attr_store(eq.kobj, Bare, "1", 1) == -EIO
    assert -EINVAL < 0


@settings(deadline=None)
@given(ops=st.lists(st.tuples(st.sampled_from(["add", "del", "grow", "nomerge", "find"]), st.integers(0, 9),
                              st.integers(0, 20)), max_size=60))
def test_the_hash_finds_whoever_ends_there(ops):
    boot(1)
    q = queue(elevator=elevator_queue())
    requests = [request(q=q, _sector=i, _data_len=512) for i in range(10)]
    for op, which, sector in ops:
        rq = requests[which]
        hashed = bool(rq.rq_flags & RQF_HASHED)
        if op == "add" and not hashed:
            elevator.elv_rqhash_add(q, rq)
        elif op == "del":
            elevator.elv_rqhash_del(q, rq)
            assert rq.hash is None
        elif op == "grow" and hashed:
            rq._data_len += 512
            elevator.elv_rqhash_reposition(q, rq)
        elif op == "nomerge":
            rq.cmd_flags |= REQ_NOMERGE
        elif op == "find":
            there = {r for r in requests if r.rq_flags & RQF_HASHED and not r.cmd_flags & REQ_NOMERGE
                     and r._sector + r._data_len // 512 == sector}
            found = elevator.elv_rqhash_find(q, sector)
            assert (found in there) if there else (found is None)


def test_a_request_that_the_hash_has_and_that_does_not_know_it_is_a_bug(kernel):
    q = queue(elevator=elevator_queue())
    rq = request(q=q, _sector=8, _data_len=512)
    elevator.elv_rqhash_add(q, rq)
    assert elevator.elv_rqhash_find(q, 9) is rq
    assert elevator.elv_rqhash_find(q, 8) is None
    rq.rq_flags &= ~RQF_HASHED
    with pytest.raises(KernelBug):
        elevator.elv_rqhash_find(q, 9)


@pytest.mark.parametrize("uevent", [False, True])
def test_a_queues_scheduler_is_shown_below_it(kernel, uevent):
    q = queue()
    kind = elevator.elevator_find("mq-deadline", 0)
    q.elevator = eq = elevator.elevator_alloc(q, kind)
    told = len(sysfs().uevents)
    assert elevator.elv_register_queue(q, uevent) == -ENOENT  # the queue itself is not shown
    assert not eq.registered
    assert eq.kobj.attrs == {}
    q.kobj.state_in_sysfs = True
    assert elevator.elv_register_queue(q, uevent) == 0
    assert eq.registered
    assert q.kobj.links["iosched"] is eq.kobj
    assert list(eq.kobj.attrs) == [attr.name for attr in kind.elevator_attrs]
    assert [event[:2] for event in sysfs().uevents[told:]] == [(KOBJ_ADD, "iosched")] * uevent


def test_a_scheduler_that_a_queue_uses_keeps_its_module(kernel):
    q = queue()
    kind = elevator_type(elevator_name="fifo", elevator_owner=module())
    assert elevator.elv_register(kind) == 0
    assert elevator.elevator_get(q, "fifo", False) is kind
    assert kind.elevator_owner.refcnt == 2
    eq = elevator.elevator_alloc(q, kind)
    kobject_put(eq.kobj)
    assert kind.elevator_owner.refcnt == 1
    elevator.elevator_put(kind)
    assert elevator.elevator_get(q, "fifo", False) is None  # the module is going
    elevator.elevator_put(kind)
    assert kind.elevator_owner.refcnt == 0
    assert "WARNING" in kernel.log[-1]


def test_hashing_twice_is_a_bug(kernel):
    q = queue(elevator=elevator_queue())
    rq = request(q=q)
    elevator.elv_rqhash_add(q, rq)
    with pytest.raises(KernelBug):
        elevator.elv_rqhash_add(q, rq)


@given(sectors=st.lists(st.integers(0, 15), min_size=1, max_size=30), data=st.data())
def test_trees_are_in_the_order_of_sectors(sectors, data):
    root = rb_root()
    requests = [request(_sector=sector) for sector in sectors]
    for rq in requests:
        elevator.elv_rb_add(root, rq)
    for rq in data.draw(st.lists(st.sampled_from(requests), unique=True)):
        elevator.elv_rb_del(root, rq)
        requests.remove(rq)
    order = sorted(requests, key=lambda rq: rq._sector)  # stable, as the tree is
    for i, rq in enumerate(order):
        assert elevator.elv_rb_former_request(None, rq) is (order[i - 1] if i else None)
        assert elevator.elv_rb_latter_request(None, rq) is (order[i + 1] if i + 1 < len(order) else None)
    for sector in range(16):
        there = [rq for rq in order if rq._sector == sector] or [None]
        assert any(elevator.elv_rb_find(root, sector) is rq for rq in there)


def test_taking_out_what_is_in_no_tree_is_a_bug(kernel):
    with pytest.raises(KernelBug):
        elevator.elv_rb_del(rb_root(), request())


def test_of_three_requests_for_one_sector_the_second_is_found():
    """The third insertion lets it become the top of the tree."""
    root = rb_root()
    requests = [request(_sector=8) for _ in range(3)]
    for n, rq in enumerate(requests):
        elevator.elv_rb_add(root, rq)
        assert elevator.elv_rb_find(root, 8) is requests[n // 2]
