"""The bus: every register access, doorbell, command, completion and interrupt of a recording, in order, in words."""

import re
from itertools import pairwise

import pytest

from blkmodel.include.linux import nvme
from blkmodel.trace import Command, Completion, Doorbell, Interrupt, RegisterRead, RegisterWrite, record
from blkmodel.trace.on_bus import passings
from blkmodel.view.facts.bus_traffic import bus_passings
from blkmodel.view.figures.bus import BUS_SCENARIOS, bus, last_passing
from tests.device.host import Host, pages, transfer
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

KINDS = {"register": (RegisterRead, RegisterWrite), "doorbell": (Doorbell,), "command": (Command,),
         "completion": (Completion,), "interrupt": (Interrupt,)}


def labels(scenario):
    return [each.label for each in bus_passings(scenario)[0]]


@pytest.mark.parametrize("scenario", BUS_SCENARIOS.values())
def test_everything_that_passed_is_there(scenario):
    passed = bus_passings(scenario)[0]
    assert passed
    assert last_passing(scenario) == len(passed)
    assert all(type(each.event) in KINDS[each.kind] for each in passed)
    assert [each.at for each in passed] == sorted({each.at for each in passed})
    assert all(before.time <= after.time for before, after in pairwise(passed))
    assert all(bool(each.path) == (each.kind in ("register", "doorbell")) for each in passed)
    fetched = sum(each.kind == "command" for each in passed)
    answered = sum(each.kind == "completion" for each in passed)
    # One asks to be told of events, and is held; one is lost with what the controller was.
    held = {"probe": 1, "fatal": 2, "fatal-shadow": 1, "gone": 1}
    assert fetched - answered == held.get(scenario, 0)


@pytest.mark.parametrize("scenario", BUS_SCENARIOS.values())
def test_a_figure_for_each_step(scenario):
    passed = bus_passings(scenario)[0]
    for step in sorted({0, 1, len(passed) // 2, len(passed)}):
        html = bus(scenario, step)
        assert html == bus(scenario, step)
        root = parsed(html)
        rows = list(root.iter("li"))
        assert len(rows) == min(len(passed), 9)
        now = [row for row in rows if row.get("class").startswith("now")]
        assert len(now) == (step > 0)
        assert label(html).startswith("Between driver and controller")
        if step:
            assert now[0].get("data-set") == f"step={step}"
            assert passed[step - 1].label in words(html)
            assert f"{step} of {len(passed)}" in label(html)


def test_a_controller_comes_up_in_this_order():
    found = labels("probe")
    wanted = ["write CC = 0x0", "write AQA = 0x1f001f", "write CC = 0x460001", "fetch: identify the controller",
              "fetch: set feature number of queues, 4", "done: set feature number of queues, 4, result 0x3f003f",
              "fetch: create completion queue 1, 1024 slots, vector 1", "fetch: create submission queue 1, 1024 slots",
              "fetch: keep doorbells in memory", "fetch: ask to be told of events", "fetch: identify namespace 1",
              "fetch: read 8 blocks from 0"]
    places = [found.index(each) for each in wanted]
    assert places == sorted(places)


def test_what_registers_say():
    meanings = {each.label.split(":")[0].split(" =")[0]: each.meaning for each in bus_passings("probe")[0]}
    assert meanings["read CAP"] == "queues of up to 2048 slots; getting ready takes up to 7.5 s"
    assert meanings["read CAP.hi"] == "a doorbell every 4 bytes; pages of 4 to 64 KiB"
    assert meanings["read VS"] == "NVMe 1.4"
    assert meanings["read CSTS"] == "ready"
    assert meanings["write CC"] == "enable: commands of 64 bytes, completions of 16, pages of 4 KiB"
    assert meanings["write AQA"] == "admin queues of 32 and 32 slots"
    assert [each.meaning for each in bus_passings("remove")[0]][-2:] == ["shut down", "ready, shut down"]


def test_the_call_that_caused_each():
    causes = {each.label: each.cause() for each in bus_passings("probe")[0] if each.path}
    assert causes["write CC = 0x460001"] == "nvme_enable_ctrl"
    passed = bus_passings("probe")[0]
    for said, cause in (("create completion queue 1", "adapter_alloc_cq"), ("identify the controller",
                                                                            "nvme_identify_ctrl"),
                        ("keep doorbells in memory", "nvme_dbbuf_set")):
        at = next(i for i, each in enumerate(passed) if each.label.startswith(f"fetch: {said}"))
        rung = next(each for each in reversed(passed[:at]) if each.kind == "doorbell" and "tail" in each.label)
        assert rung.cause() == cause
    taken = [each for each in passed if each.kind == "doorbell" and "head" in each.label]
    assert {each.cause() for each in taken} == {"nvme_irq"}


def test_a_large_read_is_three_commands_and_one_doorbell():
    kinds = [each.kind for each in bus_passings("read-1m")[0]]
    assert kinds == ["doorbell"] + ["command"] * 3 + ["completion"] * 3 + ["interrupt", "doorbell"]


def test_a_controller_that_never_gets_ready_is_given_up():
    passed, error = bus_passings("stuck")
    reads = [each for each in passed if each.label == "read CSTS: 0x0" and each.cause() == "nvme_wait_ready"]
    times = [each.time for each in reads[1:]]
    assert {after - before for before, after in pairwise(times)} == {108_000_000}  # 26 ticks, and the one that runs
    assert 7_500_000_000 < times[-1] <= 8_000_000_000
    assert error == "ENODEV"
    assert "It ends with ENODEV." in words(bus("stuck", len(passed)))
    assert "It ends" not in words(bus("stuck", len(passed) - 1))


def test_a_read_that_fails_is_tried_again():
    found = labels("fail")
    assert "failed with status 0x281: read 8 blocks from 0" in found
    assert found[-3] == "done: read 8 blocks from 0"


def test_a_read_that_is_never_answered_is_aborted_after_half_a_minute():
    passed, error = bus_passings("silent")
    abort = next(each for each in passed if each.label.startswith("fetch: abort command"))
    assert 30 <= abort.time / 1_000_000_000 < 32
    assert not error
    assert "At 31" in words(bus("silent", passed.index(abort) + 1))


def test_a_controller_that_breaks_is_reset_and_the_read_is_sent_again():
    passed, error = bus_passings("fatal")
    assert not error
    found = labels("fatal")
    noticed, enabled, done = (found.index(each) for each in (
        "read CSTS: 0x3", "write CC = 0x460001", "done: read 8 blocks from 0"))
    assert noticed < enabled < done
    assert passed[done].time < 32_000_000_000


def test_doorbells_in_memory_survive_a_reset_which_they_should_not():
    """A fault of this kernel: their old values are still there when the read is sent again, before the controller
    has been told of them anew; so the driver thinks that it need not ring. (Linux v5.16 clears them.)"""
    passed, error = bus_passings("fatal-shadow")
    assert error == "EIO"
    enabled = labels("fatal-shadow").index("write CC = 0x460001")
    assert not any(each.event.queue for each in passed[enabled:] if each.kind == "doorbell")
    assert passed[-1].time > 60_000_000_000


def test_a_controller_that_is_pulled_out_reads_as_ones():
    passed, error = bus_passings("gone")
    assert [each.meaning for each in passed if each.label.startswith("read CSTS")] == ["nobody answers"] * 3
    assert error == "EIO"


def test_a_step_that_there_is_not():
    with pytest.raises(ValueError, match="step=1000"):
        bus("read-4k", 1000)


def test_unknown_things_are_numbers():
    host = Host()
    queue = host.queue(1)
    page = pages(1)

    def step():
        host.write(nvme.NVME_REG_NSSR, 1)
        host.read(0x40)
        host.code(nvme.nvme_common_command(opcode=0x7E))
        host.code(nvme.nvme_get_log_page_command(opcode=nvme.nvme_admin_get_log_page, lid=0x99))
        host.code(nvme.nvme_features(opcode=nvme.nvme_admin_get_features, fid=0x99))
        host.code(nvme.nvme_abort_cmd(opcode=nvme.nvme_admin_abort_cmd, sqid=1, cid=7))
        host.code(transfer(0x7E, 0, 1, page._addr), queue)
        host.code(nvme.nvme_common_command(opcode=nvme.nvme_cmd_flush, nsid=1), queue)
        host.controller.unplug()
        host.read(nvme.NVME_REG_CSTS)
    found = [each.label for each in passings(record(step))]
    for wanted in ("write NSSR = 0x1", "read 0x40: 0x0", "fetch: opcode 0x7e", "fetch: get log page 0x99",
                   "fetch: get feature 0x99", "fetch: abort command 7 of queue 1", "fetch: flush",
                   "read CSTS: 0xffffffff"):
        assert wanted in found
    assert any(re.match(r"failed with status 0x4001: opcode 0x7e", each) for each in found)


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("bus('write-8k', 3)", "blkmodel.view.figures.bus")) == 1
