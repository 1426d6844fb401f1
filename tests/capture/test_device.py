"""Comparing what controllers saw: streams, not their interleaving; and what is said where they differ."""

import json
from pathlib import Path

import pytest

from blkmodel.capture.device import compare, events, streams
from blkmodel.include.linux import nvme
from blkmodel.trace import record
from tests.device.host import ENABLED, Host, pages, transfer

RECORDING = Path(__file__).parents[1] / "recordings" / "linux-5.4" / "device" / "nvme-4cpu.json"
READ = {"opcode": 2, "name": "READ", "sqid": 1, "nsid": 1, "lba": 0, "nlb": 8, "len": 4096}
IDENTIFY = {"opcode": 6, "name": "IDENTIFY", "cns": 1}


def create(queue):
    return ["admin", {"opcode": 1, "name": "CREATE_SQ", "sqid": queue, "cqid": queue, "qsize": 3, "flags": 1}]


def io(queue, **change):
    return ["io", READ | {"sqid": queue} | change]


def done(queue):
    return ["completion", queue]


SEEN = [["read", "CSTS"], ["write", "CC", "0x460001"], create(1), create(2),
        ["sq_doorbell", 1, 1], io(1), done(1), ["cq_doorbell", 1, 1],
        ["sq_doorbell", 2, 1], io(2, lba=8), done(2), ["cq_doorbell", 2, 1],
        ["sq_doorbell", 2, 3], io(2, lba=16), io(2, lba=24), done(2), done(2), ["cq_doorbell", 2, 3],
        ["sq_doorbell", 2, 0], io(2), done(2), ["cq_doorbell", 2, 0]]


def differences(ours, theirs=SEEN, scanned=1):
    return compare({"events": [event for event in theirs if event[0] != "completion"]}, ours, scanned)


def test_equal():
    assert differences(SEEN) == []


def test_how_streams_interleave_is_chance():
    later = [event for event in SEEN if event[0] in ("read", "write")]
    assert differences([*(event for event in SEEN if event not in later), *later]) == []


def test_the_queue_on_which_partitions_are_looked_for_is_chance():
    """Its number, and with it where that queue's ring is afterwards."""
    elsewhere = [*SEEN[:4], ["sq_doorbell", 2, 1], io(2), done(2), ["cq_doorbell", 2, 1],
                 ["sq_doorbell", 2, 2], io(2, lba=8), done(2), ["cq_doorbell", 2, 2],
                 ["sq_doorbell", 2, 0], io(2, lba=16), io(2, lba=24), done(2), done(2), ["cq_doorbell", 2, 0],
                 ["sq_doorbell", 2, 1], io(2), done(2), ["cq_doorbell", 2, 1]]
    assert differences(elsewhere) == []
    assert differences(SEEN, elsewhere) == []
    assert differences(elsewhere, scanned=0) != []


def test_completions_may_be_taken_one_by_one_or_together():
    together = [event for event in SEEN if event[0] != "cq_doorbell"] + [["cq_doorbell", 1, 1], ["cq_doorbell", 2, 0]]
    assert differences(together) == []


@pytest.mark.parametrize(("number", "to", "message"), [
    (0, ["read", "VS"], "register accesses: number 1: the recording has read CSTS, the model read VS"),
    (1, ["write", "CC", "0x0"], "register accesses: number 2 after read CSTS: the recording has write CC 0x460001, "
                                "the model write CC 0x0"),
    (5, io(1, lba=9), "commands that look for partitions: number 1: the recording has READ nsid=1 lba=0 nlb=8 "
                      "len=4096, the model READ nsid=1 lba=9 nlb=8 len=4096"),
    (9, io(2, lba=8, nlb=9), "commands of queue 2: number 1: the recording has READ sqid=2 nsid=1 lba=8 nlb=8 "
                             "len=4096, the model READ sqid=2 nsid=1 lba=8 nlb=9 len=4096"),
    (2, ["admin", IDENTIFY], "commands of queue 0: number 1: the recording has CREATE_SQ sqid=1 cqid=1 qsize=3 "
                             "flags=1, the model IDENTIFY sqid=None cqid=None qsize=None flags=None"),
    (12, ["sq_doorbell", 2, 2], "submission tails of queue 2: number 2 after 1: the recording has 3, the model 2"),
    (21, ["cq_doorbell", 2, 3], "completion head of queue 2: the recording's last is 4, the model's 3")])
def test_each_stream_is_compared(number, to, message):
    ours = [*SEEN[:number], to, *SEEN[number + 1:]]
    assert message in differences(ours)


@pytest.mark.parametrize(("without", "message"), [
    (0, "register accesses: number 1: the recording has read CSTS, the model write CC 0x460001"),
    (19, "commands of queue 2: number 4 after READ sqid=2 nsid=1 lba=24 nlb=8 len=4096: the recording has READ sqid=2 "
         "nsid=1 lba=0 nlb=8 len=4096, the model none"),
    (18, "submission tails of queue 2: number 3 after 3: the recording has 4, the model none")])
def test_what_is_missing_is_told(without, message):
    assert message in differences([event for number, event in enumerate(SEEN) if number != without])


def test_what_only_the_model_has_is_told():
    assert differences([*SEEN, ["read", "CSTS"]]) == [
        "register accesses: number 3 after write CC 0x460001: the recording has none, the model read CSTS"]


def test_a_head_that_passes_what_was_completed():
    early = [*SEEN[:6], SEEN[7], SEEN[6], *SEEN[8:]]
    assert differences(early) == ["completion head of queue 1: the model's passes what was completed"]


def test_a_head_that_the_recording_does_not_have_need_not_be_reached():
    assert differences(SEEN, [event for event in SEEN if event[0] != "cq_doorbell"]) == []


def test_a_queue_that_is_created_anew_begins_at_0():
    """Its tails and heads, and the admin queue's when the controller is enabled; each life's last head is compared."""
    anew = ["admin", {"opcode": 5, "name": "CREATE_CQ", "cqid": 2}]
    twice = [*SEEN, anew, create(2), ["sq_doorbell", 2, 1], io(2), done(2), ["cq_doorbell", 2, 1],
             ["write", "CC", "0x460000"], ["write", "CC", "0x460001"],
             ["sq_doorbell", 0, 1], ["admin", IDENTIFY], done(0), ["cq_doorbell", 0, 1]]
    assert differences(twice, twice) == []
    assert streams(twice, 1).tails[2] == [1, 3, 4, 1]
    assert streams(twice, 1).heads[2] == [4, 1]
    without = [*twice[:-7], *twice[-6:]]
    assert differences(without, twice) == ["completion head of queue 2: the recording's last is 1, the model's 0"]
    early = [*twice[:-2], twice[-1], twice[-2]]
    assert differences(early, twice) == ["completion head of queue 0: the model's passes what was completed"]


def test_only_what_a_recording_tells_of_a_command_is_compared():
    assert differences(SEEN, [["io", {k: v for k, v in e[1].items() if k != "len"}] if e[0] == "io" else e
                              for e in SEEN]) == []


def test_a_real_recording_is_equal_to_itself():
    recorded = json.loads(RECORDING.read_text())["events"]
    completed = []
    for event in recorded:
        completed.append(event)
        if event[0] in ("io", "admin") and event[1]["name"] != "ASYNC_EV_REQ":
            completed.append(["completion", event[1]["sqid"] if event[0] == "io" else 0])
    assert compare({"events": recorded}, completed, 1) == []
    found = streams(recorded, 1)
    assert len(found.registers) == 20
    assert found.scan == [{"opcode": 2, "name": "READ", "nsid": 1, "lba": 0, "nlb": 8, "len": 4096}]
    assert {queue: len(commands) for queue, commands in found.commands.items()} == {0: 29, 1: 1, 2: 1, 3: 3}
    assert found.tails[1] == [1]
    assert found.heads == {0: [28], 1: [1], 2: [1], 3: [3]}


def test_events_of_a_controller():
    host = Host(enable=False)

    def step():
        host.enable()
        host.code(nvme.nvme_features(opcode=nvme.nvme_admin_set_features, fid=7, dword11=0x3F003F))
        queue = host.queue(1, vector=2)
        data = nvme.nvme_data_ptr(pages(1)._addr)
        for opcode in (nvme.nvme_admin_identify, 0x7F):
            host.code(nvme.nvme_identify(opcode=opcode, cns=1, dptr=data))
        host.code(nvme.nvme_get_log_page_command(opcode=nvme.nvme_admin_get_log_page, lid=5, dptr=data))
        host.code(nvme.nvme_abort_cmd(opcode=nvme.nvme_admin_abort_cmd, sqid=1, cid=9))
        host.code(transfer(nvme.nvme_cmd_write, 3, 2, pages(1)._addr), queue)
        host.code(nvme.nvme_dsm_cmd(opcode=nvme.nvme_cmd_dsm, nsid=1, nr=1, attributes=1, dptr=data), queue)
        host.code(nvme.nvme_common_command(opcode=nvme.nvme_cmd_flush, nsid=1), queue)
        for opcode in (nvme.nvme_admin_delete_sq, nvme.nvme_admin_delete_cq):
            host.code(nvme.nvme_delete_queue(opcode=opcode, qid=1))
        host.readq(nvme.NVME_REG_CAP)
    seen = events(record(step))
    assert [event[1:] for event in seen if event[0] in ("read", "write")] == [
        ["AQA", "0x1f001f"], ["ASQ", "address"], ["ASQ.hi", "address"], ["ACQ", "address"], ["ACQ.hi", "address"],
        ["CC", f"{ENABLED:#x}"], ["CAP"], ["CAP.hi"]]
    assert [event[1] for event in seen if event[0] == "admin"] == [
        {"opcode": 9, "name": "SET_FEATURES", "fid": 7, "cdw11": 0x3F003F, "granted": [64, 64]},
        {"opcode": 5, "name": "CREATE_CQ", "cqid": 1, "vector": 2, "qsize": 15, "flags": 3, "ien": 1},
        {"opcode": 1, "name": "CREATE_SQ", "sqid": 1, "cqid": 1, "qsize": 15, "flags": 1},
        {"opcode": 6, "name": "IDENTIFY", "cns": 1}, {"opcode": 0x7F, "name": "unknown"},
        {"opcode": 2, "name": "GET_LOG_PAGE", "lid": 5}, {"opcode": 8, "name": "ABORT", "sqid": 1, "cid": 9},
        {"opcode": 0, "name": "DELETE_SQ", "sqid": 1}, {"opcode": 4, "name": "DELETE_CQ", "cqid": 1}]
    assert [event[1] for event in seen if event[0] == "io"] == [
        {"opcode": 1, "name": "WRITE", "sqid": 1, "nsid": 1, "lba": 3, "nlb": 2, "len": 1024},
        {"opcode": 9, "name": "DSM", "sqid": 1, "nsid": 1, "nr": 2, "attr": 1},
        {"opcode": 0, "name": "FLUSH", "sqid": 1, "nsid": 1}]
    assert [event for event in seen if event[0].endswith("doorbell")][:4] == [
        ["sq_doorbell", 0, 1], ["cq_doorbell", 0, 1], ["sq_doorbell", 0, 2], ["cq_doorbell", 0, 2]]
