"""A controller misbehaves: the figure says who hears of it, what the driver does then, and that nothing is left."""

import pytest

from blkmodel.device.faults import FAIL, FATAL, GONE, SILENT, STUCK
from blkmodel.live import Choice, Steps, live
from blkmodel.view.facts.controller_faults import story_of
from blkmodel.view.figures.break_controller import FAULTS, break_controller, last_place
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


def places(fault):
    """A few, with both ends."""
    return sorted({*range(0, last_place(fault) + 1, 5), 1, last_place(fault)})


@pytest.mark.parametrize("fault", FAULTS.values())
def test_every_fault_is_drawn_and_leaves_nothing(fault):
    for where in places(fault):
        html = break_controller(fault, where)
        story = story_of(fault if where else "", where, True)
        assert parsed(html) is not None
        assert story.hung or story.before == story.after
        assert story.hung == ("waits for ever" in words(html))
        assert (story.error is None) == ("the driver goes on" in words(html))
        failed = [row for row in parsed(html).iter("li") if row.get("class") == "failed"]
        assert len(failed) == (where > 0) + bool(story.path)
        assert all(line in words(html) for line in story.log)
        assert list(map(bool, (story.trouble, where))) in ([True, True], [False, False])
        if story.error:
            assert story.error.name in words(html)
            assert "nothing is left" in words(html)


def frames(fault, where, again=True):
    return [(node.function, node.value) for node in reversed(story_of(fault, where, again).path)]


def whats(fault, where, again=True):
    """What is done after the trouble."""
    story = story_of(fault, where, again)
    return [each.what for each in story.doings if each.at > story.trouble.at]


def test_a_command_fails_and_what_each_caller_makes_of_it():
    assert frames(FAIL, 7)[2:] == [("nvme_submit_sync_cmd", 6), ("adapter_alloc_cq", 6), ("nvme_create_queue", 6),
                                   ("nvme_create_io_queues", 0), ("nvme_setup_io_queues", 0), ("nvme_reset_work", None)]
    said = words(break_controller(FAIL, 7))
    assert "“create completion queue 2, 8 slots, vector 2” fails, status 0x6; the driver goes on, with 1/0/0" in said
    assert "adapter_alloc_cq C model status 0x6" in said


def test_fewer_queues_are_created_anew():
    then = whats("usable", 2)
    assert then[:5] == [
        "delete submission queue 2", "delete submission queue 1", "delete completion queue 2",
        "delete completion queue 1", "interrupt vectors"]
    assert then[5].startswith("create completion queue 1")
    bold = [row for row in parsed(break_controller("usable", 2)).iter("li") if row.get("class") == "new"]
    assert "".join(bold[0].itertext()).startswith("delete submission queue 2")


def test_no_answer():
    story = story_of(SILENT, 1, True)
    assert [each.what for each in story.doings if each.at > story.trouble.at][:2] == ["nvme_timeout",
                                                                                      "nvme_dev_disable"]
    said = words(break_controller(SILENT, 1))
    assert "it ends in EIO after 60 s" in said
    assert "60.4 s pass nvme_timeout" in said
    assert "I/O 16 QID 0 timeout, disable controller" in said


def test_a_request_for_events_is_not_missed():
    assert frames(SILENT, 15) == []
    said = words(break_controller(SILENT, 15))
    assert "Nobody waits for this command" in said
    assert "the driver goes on, with 4/0/0" in said


@pytest.mark.parametrize(("fault", "seconds"), [(STUCK, " after 8 s"), (FATAL, " after 8 s"), (GONE, "")])
def test_it_is_not_ready(fault, seconds):
    assert frames(fault, 1)[:2] == [("nvme_wait_ready", -19), ("nvme_enable_ctrl", -19)]
    assert f"It ends in ENODEV{seconds}, and all that was taken is given back" in label(break_controller(fault, 1))


def test_a_read_is_tried_again_unless_the_status_forbids_it():
    """Then the next parser reads it anew, into the same page: only for the first one the sector is lost."""
    last = last_place(FAIL)
    for again in (True, False):
        assert whats(FAIL, last, again) == ["read 8 blocks from 0"]
        said = words(break_controller(FAIL, last, again=again))
        assert ("I/O error, dev nvme0n1, sector 0" in said) == ("async page read" in said) == (not again)
        assert "unable to read partition table" not in said


@pytest.mark.parametrize(("fault", "where", "queues"), [
    ("granted", 2, 2), ("usable", 3, 3), ("vectors", 1, 1), ("vectors", 2, 1), ("vectors", 4, 3), ("cpu", 3, 1)])
def test_with_fewer(fault, where, queues):
    story = story_of(fault, where, True)
    assert story.log[-1] == f"nvme nvme0: {queues}/0/0 default/read/poll queues"
    assert story.disks == ("nvme0n1",)


def test_no_vector_on_one_cpu():
    assert frames("cpu", 3)[:3] == [("msix_capability_init", 3), ("__pci_enable_msix", 3),
                                    ("__pci_enable_msix_range", 1)]


def test_nothing_is_wrong():
    html = break_controller(FAIL, 0)
    assert "Nothing is wrong" in words(html)
    assert label(html).endswith("and nothing is wrong.")


def test_a_place_that_there_is_not():
    with pytest.raises(ValueError, match="where=5: it is a number from 0 to 3"):
        break_controller("granted", 5)


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("break_controller('silent', 9)", "blkmodel.view.figures.break_controller")) == 1


def test_as_a_live_figure(monkeypatch):
    monkeypatch.setenv("BLKMODEL_STILL", "1")
    figure = live(break_controller, fault=Choice(FAULTS), where=Steps(last_place))
    figure.set(fault="granted", where=999)
    assert figure.values["where"] == 3
