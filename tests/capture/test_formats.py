"""Reading recordings: what a wrong file is answered."""

import json
from typing import Any

import pytest

from blkmodel.capture.formats import FormatError, read

HCTX = {"index": 0, "type": "default", "cpus": [0, 1], "nr_tags": 64, "nr_reserved_tags": 0}
MAP: dict[str, Any] = {
    "format": "blkmodel-capture/1", "kernel": {"release": "5.4.120"},
    "machine": {"possible": "0-1", "present": "0-1", "online": "0-1", "nodes": {"0": "0-1"}},
    "cases": [{"driver": "null_blk", "params": {"submit_queues": 1}, "observed": {"hctxs": [HCTX]}}],
}
NVME = {**MAP, "cases": [{"driver": "nvme", "params": {}, "device": {"max_ioqpairs": 1},
                          "observed": {"hctxs": [HCTX]}}]}
CALLS = {
    "format": "blkmodel-calls/1", "kernel": {"release": "5.4.120"},
    "scenario": {"name": "x", "cpus": 4, "setup": [], "traced": ["null_blk.load", {"submit_queues": 3}],
                 "roots": ["blk_mq_alloc_tag_set"]},
    "contexts": [{"context": "task", "calls": ["a", {"b": ["c"]}, {"repeat": 2, "calls": ["d"]}]}],
}
LATER = {**CALLS, "observed": {"results": [{"op": "read", "return": 4096}], "kernel_log": [], "files": {"a/b": "32"}}}

DEVICE = {
    "format": "blkmodel-device/1", "kernel": {"release": "5.4.120"}, "scenario": {"cpus": 4, "steps": [
        ["nvme.probe", {"device": "nvme0"}]]},
    "events": [["read", "CSTS"], ["write", "CC", "0x460001"], ["write", "ASQ", "address"], ["sq_doorbell", 0, 1],
               ["admin", {"opcode": 1, "name": "CREATE_SQ", "sqid": 1, "qsize": 31, "granted": [1, 2]}],
               ["io", {"opcode": 2, "name": "READ", "sqid": 1}], ["cq_doorbell", 1, 1]],
}


def changed(document, *place, to):
    """A copy with one place changed; DROP takes it out."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if to is DROP:
        del inner[place[-1]]
    else:
        inner[place[-1]] = to
    return copy


DROP = object()


@pytest.fixture
def refusal(tmp_path):
    """Why a document, written to a file, cannot be read."""
    def refusal(content):
        path = tmp_path / "recording.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        with pytest.raises(FormatError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        return caught.value.message
    return refusal


SESSION = {
    "format": "blkmodel-dmsetup/1", "kernel": {"release": "5.4.120"},
    "devices": {"/dev/nvme0n1": {"dev": "259:0", "sectors": 131072}},
    "session": [{"dmsetup": "create", "name": "a", "table": None, "exit": 0},
                {"dmsetup": "remove", "name": "b", "exit": 1, "failed_ioctl": "remove", "error": "No",
                 "kernel_log": []}],
}


@pytest.mark.parametrize("document", [MAP, NVME, CALLS, LATER, DEVICE, SESSION])
def test_a_good_file(tmp_path, document):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(document))
    assert read(path) == document




@pytest.mark.parametrize(("content", "message"), [
    (b"{", "line 1, column 2: expected JSON: Expecting property name enclosed in double quotes"),
    (b"\xff", "byte 0: expected UTF-8 text"),
    (b"[]", "the file: expected an object with format, kernel, found []"),
    ({"format": "x/9", "kernel": {"release": "5"}},
     "format: expected one of blkmodel-capture/1, blkmodel-calls/1, blkmodel-device/1, blkmodel-dmsetup/1, "
     "blkmodel-statuses/1, blkmodel-nr_requests/1, blkmodel-hotplug/1, found 'x/9'"),
    (changed(MAP, "kernel", to={}), "kernel: expected the field release, found []"),
    (changed(MAP, "machine", "online", to="0-"), "machine.online: expected a list of CPUs such as 0-3,8, found '0-'"),
    (changed(MAP, "machine", "nodes", to={"x": "0-1"}), "machine.nodes: expected keys that are numbers, found 'x'"),
    (changed(MAP, "machine", "online", to="0-2"),
     "machine: expected a machine that a kernel can boot on: CPU 2 is online but not present (0-1)"),
    (changed(MAP, "cases", 0, "driver", to="virtio\x1b"), "cases[0].driver: expected a name, found 'virtio\\x1b'"),
    (changed(MAP, "cases", 0, "driver", to="virtio"),
     "cases[0].params: expected no fields but poll_queues, found 'submit_queues'"),
    (changed(MAP, "cases", 0, "params", "submit_queues", to=[1]),
     "cases[0].params.submit_queues: expected a number, true or false, or a text, found [1]"),
    (changed(MAP, "machine", "possible", to="0-99999999"),
     "machine.possible: expected a list of CPUs such as 0-3,8, found '0-99999999'"),
    (changed(NVME, "cases", 0, "params", to={"queues": 1}),
     "cases[0].params: expected no fields but write_queues, poll_queues, io_queue_depth, found 'queues'"),
    (changed(NVME, "cases", 0, "device", "max_ioqpairs", to=0),
     "cases[0].device.max_ioqpairs: expected a number, at least 1, found 0"),
    (changed(MAP, "cases", 0, "observed", "hctxs", 0, "type", to="write"),
     "cases[0].observed.hctxs[0].type: expected one of default, read, poll, found 'write'"),
    (changed(MAP, "cases", 0, "observed", "hctxs", 0, "cpus", to="0-1"),
     "cases[0].observed.hctxs[0].cpus: expected a list, found '0-1'"),
    (changed(MAP, "cases", 0, "observed", "irq_affinity", to={"eth0": "0"}),
     "cases[0].observed.irq_affinity: expected keys that are `admin` or the number of an I/O queue, found 'eth0'"),
    (changed(MAP, "cases", to=DROP),
     "the file: expected the field cases, found ['format', 'kernel', 'machine']"),
    (changed(CALLS, "scenario", "cpus", to=True), "scenario.cpus: expected a number, at least 1, found True"),
    (changed(CALLS, "scenario", "traced", to=["io", {"disk": "nullb0"}]),
     "scenario.traced[1]: expected the field op, found ['disk']"),
    (changed(CALLS, "scenario", "setup", to=["null_blk.load"]),
     "scenario.setup[0]: expected a step: a list that begins with its name, found 'null_blk.load'"),
    (changed(CALLS, "contexts", 0, "calls", 1, "b", to=[3]),
     'contexts[0].calls[1].b[0]: expected a name, {"name": [calls]} or {"repeat": n, "calls": [calls]}, found 3'),
    (changed(CALLS, "contexts", 0, "calls", 2, "repeat", to=0),
     "contexts[0].calls[2].repeat: expected a number, at least 1, found 0"),
    (changed(LATER, "observed", to="a"), "observed: expected an object, found 'a'"),
    (changed(LATER, "observed", "results", to=4096), "observed.results: expected a list or an object, found 4096"),
    (changed(DEVICE, "events", 0, to=["look", "CSTS"]),
     "events[0]: expected an event: a list that begins with one of read, write, sq_doorbell, cq_doorbell, admin, io, "
     "found ['look', 'CSTS']"),
    (changed(DEVICE, "events", 0, to=["read"]), "events[0]: expected 1 facts after read, found ['read']"),
    (changed(DEVICE, "events", 1, 2, to="on"),
     'events[1][2]: expected a hexadecimal number such as 0x460001, or "address", found \'on\''),
    (changed(DEVICE, "events", 3, 2, to=-1), "events[3][2]: expected a number, at least 0, found -1"),
    (changed(DEVICE, "events", 4, 1, "qsize", to=DROP),
     "events[4][1]: expected the field qsize, found ['granted', 'name', 'opcode', 'sqid']"),
    (changed(DEVICE, "events", 4, 1, to={"opcode": 5, "name": "CREATE_CQ", "cqid": [1]}),
     "events[4][1].cqid: expected a number, at least 0, found [1]"),
    (changed(DEVICE, "events", 4, 1, "granted", to="64"),
     "events[4][1].granted: expected a number, at least 0, found '64'"),
    (changed(DEVICE, "events", 5, 1, "sqid", to=DROP),
     "events[5][1]: expected the field sqid, found ['name', 'opcode']"),
    (changed(DEVICE, "scenario", "steps", to=["nvme.probe"]),
     "scenario.steps[0]: expected a step: a list that begins with its name, found 'nvme.probe'"),
    (changed(SESSION, "session", 1, "exit", to=DROP),
     "session[1]: expected the field exit, found ['dmsetup', 'error', 'failed_ioctl', 'kernel_log', 'name']"),
    (changed(SESSION, "session", 0, "table", to=7), "session[0].table: expected a text, found 7"),
    (changed(SESSION, "devices", to={"sda": {}}), "devices: expected keys that are names below /dev, found 'sda'"),
    (changed(SESSION, "devices", "/dev/nvme0n1", "sectors", to=-1),
     "devices./dev/nvme0n1.sectors: expected a number, at least 0, found -1"),
])
def test_file_place_and_expectation(refusal, content, message):
    assert refusal(content) == message


@pytest.mark.parametrize(("content", "message"), [
    (changed(MAP, "cases", 0, "params", to={"nr_devices": "0x10000"}),
     "cases[0]: expected at most 262144 requests in a case, and 4194304 in all, found 69730336"),
    (changed(NVME, "cases", to=list(NVME["cases"]) * 1001), "cases: expected a list of at most 1000, found 1001"),
    (changed(CALLS, "contexts", 0, "calls", to=[{"repeat": 1000, "calls": [{"repeat": 1000, "calls": ["a"]}]}]),
     "contexts[0].calls: expected at most 131072 calls, repeats written out, found 1000000"),
    (changed(CALLS, "contexts", 0, "calls", to=["\x1b[31m"]),
     "contexts[0].calls[0]: expected the name of a function, found '\\x1b[31m'"),
    (changed(CALLS, "scenario", "setup", to=[["nvme.probe", {}]] * 100),
     "scenario.setup[57]: expected steps that make at most 262144 requests, found ['nvme.probe', {}]"),
    (changed(CALLS, "scenario", "setup", to=[["io", {
        "disk": "nullb0", "op": "write", "offset": 0, "length": 1 << 24, "cpu": 0, "page_runs": [4096]}]] * 17),
     "scenario.setup[16]: expected steps that move at most 268435456 bytes, found ['io', {'disk': 'nullb0', 'op': "
     "'write', 'offset': 0, 'le..."),
    (changed(SESSION, "devices", to={f"/dev/nvme{n}n1": {"sectors": 8} for n in range(65)}),
     "devices: expected an object of 0 to 64 fields, found 65"),
    (changed(SESSION, "session", 0, "name", to="x" * 5000),
     f"session[0].name: expected a text of at most 4096 characters, none of them NUL, found '{'x' * 56}..."),
])
def test_limits(refusal, content, message):
    assert refusal(content) == message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere\.json: expected a file that can be read: No such file"):
        read(tmp_path / "nowhere.json")
    with pytest.raises(FormatError, match="expected a file that can be read: Is a directory"):
        read(tmp_path)
