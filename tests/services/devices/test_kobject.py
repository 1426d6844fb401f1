"""Objects and their places in sysfs: who holds whom, and what cannot be shown."""

import pytest

from blkmodel import boot
from blkmodel.services.base.err import ENOENT
from blkmodel.services.devices.kobject import (kobj_type, kobject, kobject_add, kobject_create_and_add, kobject_del,
    kobject_init, kobject_put, object_at)


@pytest.fixture
def kernel():
    return boot(1)


def made(released, name):
    kobj = kobject()
    kobject_init(kobj, kobj_type(release=lambda kobj: released.append(name)), kobj)
    return kobj


def test_what_is_shown_holds_its_parent(kernel):
    released: list[str] = []
    above, below = made(released, "above"), made(released, "below")
    assert kobject_add(above, None, "a") == kobject_add(below, above, "b") == 0
    assert object_at("a/b") is below
    kobject_put(above)
    assert released == []
    kobject_put(below)
    assert released == ["above", "below"]
    assert object_at("a") is None


def test_nothing_is_shown_below_what_is_not(kernel):
    released: list[str] = []
    above, below = made(released, "above"), made(released, "below")
    assert kobject_add(below, above, "b") == -ENOENT
    assert kernel.log[-1] == "kobject_add_internal failed for b (error: -2 parent: (null))"
    assert (below.parent, below.state_in_sysfs, above.refcount) == (None, False, 1)
    before = kernel.memory.totals()
    assert kobject_create_and_add("c", above) is None
    assert kernel.log[-1] == "kobject_create_and_add: kobject_add error: -2"
    assert kernel.memory.totals() == before


def test_shown_in_two_places_the_first_is_held_for_ever(kernel):
    """What 5.4 does to the first of several hardware queues that a software queue is shown below."""
    released: list[str] = []
    first, second, below = made(released, "first"), made(released, "second"), made(released, "below")
    for above, name in ((first, "1"), (second, "2")):
        kobject_add(above, None, name)
        assert kobject_add(below, above, "b") == 0
    for _ in range(2):
        kobject_del(below)
    for each in (first, second, below):
        kobject_del(each)
        kobject_put(each)
    assert released == ["second", "below"]
    assert first.refcount == 1
