"""Reading recordings: the file formats, and what each must hold.

`blkmodel-capture/1` (queue maps), `blkmodel-calls/1` (call trees, and what a user saw), `blkmodel-device/1` (what a
controller saw), `blkmodel-dmsetup/1` (sessions of dmsetup) and the tables `blkmodel-statuses/1`,
`blkmodel-nr_requests/1` and `blkmodel-hotplug/1` are checked to the last field, so that whatever compares them with the
model can rely on it. Beside the limits of files.py, shapes.py and steps.py, a capture or a table has at most MOST_CASES
cases, which make at most MOST_REQUESTS_OF_CASES requests; the calls of a recording are at most MOST_CALLS when their
repeats are written out; a controller saw at most MOST_EVENTS events; a machine is of at most MOST_CPUS CPUs and as many
nodes.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blkmodel.capture.files import FileError, parse_json, placed, read_text
from blkmodel.capture.shapes import (MOST_CPUS, MOST_TEXT, Shape, ShapeError, anything, count, cpu_number, cpulist,
    device_path, fields, flag, interrupt, list_of, long_text, mapping, name, number_from, one_of, one_or_list_of,
    parameter, plain_name, some_cpus, text, text_or_none)
from blkmodel.capture.steps import (CONTROLLER_SHAPES, MOST_REQUESTS, MOST_SECTORS, MOST_STEPS, null_blk_requests,
    nvme_requests, step, steps)
from blkmodel.include.linux.blkdev import BLKDEV_MAX_RQ
from blkmodel.sim.machine import from_capture

CAPTURE, CALLS, DEVICE, DMSETUP = "blkmodel-capture/1", "blkmodel-calls/1", "blkmodel-device/1", "blkmodel-dmsetup/1"
STATUSES, NR_REQUESTS, HOTPLUG = "blkmodel-statuses/1", "blkmodel-nr_requests/1", "blkmodel-hotplug/1"
MOST_CASES, MOST_REQUESTS_OF_CASES = 1000, 1 << 22
CASE_OF_A_CPU = 16  # requests take about as long as a CPU of a case does
MOST_CALLS, MOST_EVENTS = 1 << 17, 1 << 17


class FormatError(ValueError):
    """A file is not a recording that can be read: which file, where in it, and what was expected there."""

    def __init__(self, path: str | Path, message: str) -> None:
        self.path = str(path)
        self.message = message
        super().__init__(f"{path}: {message}")


_cpus = number_from(1, MOST_CPUS)
_u16, _u32 = number_from(0, (1 << 16) - 1), number_from(0, (1 << 32) - 1)
_returned = number_from(-(1 << 31), 1 << 31)
_result = fields({}, {"op": text, "return": _returned, "errno": text, "ms": _u32, "submitted": _returned,
                      "events": list_of(fields({"return": _returned}, {"errno": text}), MOST_STEPS)})
_hctx = fields({"index": _u16, "cpus": list_of(number_from(0, MOST_CPUS - 1), MOST_CPUS)},
               {"type": one_of("default", "read", "poll"), "nr_tags": _u32, "nr_reserved_tags": _u32})
_observed = fields(
    {"hctxs": list_of(_hctx, 1 << 16)},
    {"queues": fields({"default": _u16, "read": _u16, "poll": _u16}),
     "nr_requests": _u32,
     "scheduler": text,
     "sbitmap": fields({"depth": _u32, "bits_per_word": _u32, "map_nr": _u32, "wake_batch": _u32}),
     "irq_affinity": mapping(interrupt, cpulist, most=1 << 16)})
_named: dict[str, Shape] = {"disk": name}
_nvme_case = fields(
    {"driver": text,
     "params": fields({}, {"write_queues": _u32, "poll_queues": _u32, "io_queue_depth": number_from(2, 1 << 16)}),
     "device": fields({"max_ioqpairs": number_from(1, 65535)}, CONTROLLER_SHAPES),
     "observed": _observed}, _named)
_null_blk_case = fields({"driver": text, "params": mapping(plain_name, parameter, most=64), "observed": _observed},
                        _named)


_other_case = fields({"driver": name, "params": fields({}, {"poll_queues": _u32}), "observed": _observed,
                      "device": fields({"queues": number_from(1, 65535), "vectors": _u32})}, _named)


def _case(value: Any, place: str) -> None:
    fields({"driver": name}, closed=False)(value, place)
    {"nvme": _nvme_case, "null_blk": _null_blk_case}.get(value["driver"], _other_case)(value, place)


_machine = fields(
    {"possible": some_cpus, "present": some_cpus, "online": some_cpus,
     "nodes": mapping(cpu_number, cpulist, 1, MOST_CPUS)},
    {"possible_nodes": mapping(cpu_number, cpulist, 1, MOST_CPUS),
     "thread_siblings": mapping(cpu_number, some_cpus, 0, MOST_CPUS), "isolated": cpulist}, closed=False)


def _function(name: str) -> bool:
    """names of functions"""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]{0,127}", name))


def _call(value: Any, place: str) -> None:
    """A name, {name: [calls]}, or {"repeat": n, "calls": [calls]}."""
    expected = 'a name, {"name": [calls]} or {"repeat": n, "calls": [calls]}'
    if isinstance(value, str):
        if not _function(value):
            raise ShapeError(place, "the name of a function", value)
        return
    if not isinstance(value, dict):
        raise ShapeError(place, expected, value)
    if "repeat" in value:
        fields({"repeat": number_from(1, MOST_CALLS), "calls": list_of(_call)})(value, place)
    elif len(value) != 1:
        raise ShapeError(place, expected, sorted(value))
    else:
        mapping(_function, list_of(_call))(value, place)


def _facts(value: Any, place: str) -> None:
    """What a tool saw besides the calls: a list or an object."""
    if not isinstance(value, list | dict):
        raise ShapeError(place, "a list or an object", value)


def _file_name(name: str) -> bool:
    """names of files, or commands"""
    return 0 < len(name) < MOST_TEXT and "\0" not in name


def _seen(value: Any, place: str) -> None:
    """What came of a step."""
    mapping(plain_name, _facts, most=64)(value, place)
    fields({}, {"results": list_of(_result, MOST_STEPS), "kernel_log": list_of(long_text, MOST_STEPS),
                "kernel_log_ms": list_of(_u32, MOST_STEPS),
                "files": mapping(_file_name, one_or_list_of(long_text, 64), most=MOST_STEPS)},
           closed=False)(value, place)


def _size(calls: list[Any]) -> int:
    """How many calls there are when the repeats are written out; at least 1 for each repeat, that it is counted."""
    found = 0
    for call in calls:
        if isinstance(call, str):
            found += 1
        elif "repeat" in call:
            found += call["repeat"] * max(_size(call["calls"]), 1)
        else:
            found += 1 + sum(map(_size, call.values()))
    return found


def _event(value: Any, place: str) -> None:
    """What a controller saw: the kind, and what there is to say of it."""
    if not isinstance(value, list) or not value or not isinstance(value[0], str) or value[0] not in _EVENTS:
        raise ShapeError(place, f"an event: a list that begins with one of {', '.join(_EVENTS)}", value)
    shapes = _EVENTS[value[0]]
    if len(value) != len(shapes) + 1:
        raise ShapeError(place, f"{len(shapes)} facts after {value[0]}", value)
    for i, (shape, fact) in enumerate(zip(shapes, value[1:], strict=True), 1):
        shape(fact, f"{place}[{i}]")


def _written(value: Any, place: str) -> None:
    """A register's value."""
    text(value, place)
    if value != "address" and not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", value):
        raise ShapeError(place, 'a hexadecimal number such as 0x460001, or "address"', value)


_numbers = one_or_list_of(count, 64)


def _command(required: dict[str, Shape]) -> Callable[[Any, str], None]:
    def check(value: Any, place: str) -> None:
        fields({"opcode": number_from(0, 255), "name": name, **required}, closed=False)(value, place)
        mapping(plain_name, anything, most=64)(value, place)
        for key, fact in value.items():
            if key != "name":
                _numbers(fact, f"{place}.{key}")
        fields(_CREATED.get(value["name"], {}), closed=False)(value, place)
    return check


_CREATED: dict[str, dict[str, Shape]] = {"CREATE_SQ": {"sqid": _u16, "qsize": _u16}, "CREATE_CQ": {"cqid": _u16}}
_EVENTS: dict[str, tuple[Shape, ...]] = {
    "read": (name,), "write": (name, _written), "sq_doorbell": (_u16, _u32), "cq_doorbell": (_u16, _u32),
    "admin": (_command({}),), "io": (_command({"sqid": _u16}),)}
_steps = list_of(step, MOST_STEPS)
_scenario = fields({"name": text, "cpus": _cpus, "setup": _steps, "traced": step, "roots": list_of(name, 1000)},
                   closed=False)
_context = fields({"context": one_of("task", "irq", "softirq"), "calls": list_of(_call)}, closed=False)
_session_step = fields(
    {"dmsetup": text, "exit": number_from(0, 255)},
    {"name": text, "new_name": text, "table": text_or_none, "failed_ioctl": text, "error": text,
     "kernel_log": list_of(text, 1000), "output": long_text}, closed=False)
_devices = mapping(device_path, fields({"sectors": number_from(0, MOST_SECTORS)}, closed=False), most=64)
_error: dict[str, Shape] = {"error": text_or_none}
_status = fields({"status": parameter, "dnr": flag, "op": one_of("read", "write"), "returned": _returned},
                 _error | {"kernel_log": list_of(long_text, 64)})
_written_case = fields({"scheduler": name, "write": _u32, "ok": flag, "now": _u32})
_moment = mapping(plain_name, cpulist, most=MOST_CPUS)
_moments = {"before": _moment, "offline": _moment, "after": _moment}
_irqs = mapping(plain_name, fields({}, {"smp_affinity_list": cpulist, "effective_affinity_list": cpulist}),
                most=MOST_CPUS)
_any = fields({"format": one_of(CAPTURE, CALLS, DEVICE, DMSETUP, STATUSES, NR_REQUESTS, HOTPLUG),
               "kernel": fields({"release": text}, closed=False)},
              closed=False)
_SHAPES = {
    CAPTURE: fields({"machine": _machine, "cases": list_of(_case, MOST_CASES)}, closed=False),
    CALLS: fields({"scenario": _scenario, "contexts": list_of(_context)}, {"observed": _seen}, closed=False),
    DEVICE: fields({"events": list_of(_event, MOST_EVENTS),
                    "scenario": fields({"cpus": _cpus, "steps": _steps}, closed=False)}, closed=False),
    DMSETUP: fields({"session": list_of(_session_step, MOST_STEPS), "devices": _devices}, {"cpus": _cpus},
                    closed=False),
    STATUSES: fields({"cases": list_of(_status, MOST_CASES)}, {"cpus": _cpus, "setup": _steps}, closed=False),
    NR_REQUESTS: fields({"setup": _steps, "cases": list_of(_written_case, MOST_CASES)}, {"cpus": _cpus}, closed=False),
    HOTPLUG: fields({"hctx_cpus": fields({}, _moments),
                     "scenario": fields({"cpus": _cpus, "setup": _steps, "steps": _steps}, closed=False),
                     "irq": fields({}, dict.fromkeys(_moments, _irqs) | {"write_smp_affinity": fields(
                         {"exit": number_from(0, 255)}, _error)})}, closed=False)}
"""What each format has besides what all have."""


def read(path: str | Path) -> dict[str, Any]:
    """Return the recording that is in a file, once it is known to be whole. Raises FormatError."""
    try:
        return parsed(read_text(path))
    except (FileError, ShapeError) as why:
        raise FormatError(path, str(why)) from why


def parsed(written: str) -> dict[str, Any]:
    """Return a recording as what JSON makes of a text, once it is known to be whole. Raises FileError, ShapeError."""
    document = parse_json(written)
    _any(document, "")
    _SHAPES[document["format"]](document, "")
    _LIMITS[document["format"]](document)
    return document


def _cases_asked_for(document: dict[str, Any]) -> None:
    """Hold a capture against what its machine can be, and all its cases together may ask for."""
    with placed("machine: expected a machine that a kernel can boot on", FileError, ValueError):
        machine = from_capture(document["machine"])
    cpus, total = len(machine.possible), 0
    for i, case in enumerate(document["cases"]):
        params = case["params"]
        if case["driver"] == "nvme":
            requests = nvme_requests(params, {"vectors": 2048} | case["device"], cpus)
        elif case["driver"] == "null_blk":
            requests = null_blk_requests(params, cpus)
        else:
            requests = case["device"]["queues"]
        requests += CASE_OF_A_CPU * cpus
        total += requests
        if requests > MOST_REQUESTS or total > MOST_REQUESTS_OF_CASES:
            most = f"{MOST_REQUESTS} requests in a case, and {MOST_REQUESTS_OF_CASES} in all"
            raise ShapeError(f"cases[{i}]", f"at most {most}", requests)


def _calls_asked_for(document: dict[str, Any]) -> None:
    scenario, calls = document["scenario"], 0
    places = [*(f"scenario.setup[{i}]" for i in range(len(scenario["setup"]))), "scenario.traced"]
    steps([*scenario["setup"], scenario["traced"]], places, scenario["cpus"])
    for i, context in enumerate(document["contexts"]):
        calls += _size(context["calls"])
        if calls > MOST_CALLS:
            raise ShapeError(f"contexts[{i}].calls", f"at most {MOST_CALLS} calls, repeats written out", calls)


def _steps_asked_for(document: dict[str, Any]) -> None:
    where, scenario = ("scenario.", document["scenario"]) if "scenario" in document else ("", document)
    for key in ("setup", "steps"):
        given = scenario.get(key, [])
        steps(given, [f"{where}{key}[{i}]" for i in range(len(given))], scenario.get("cpus", 4))
    asked = sum(min(case["write"], 16 * BLKDEV_MAX_RQ) for case in document.get("cases", ()) if "write" in case)
    if asked * scenario.get("cpus", 4) > MOST_REQUESTS_OF_CASES:
        raise ShapeError("cases", f"at most {MOST_REQUESTS_OF_CASES} requests in all", asked)


def _devices_asked_for(document: dict[str, Any]) -> None:
    places = [f"devices.{path}" for path in document["devices"]]
    steps([["nvme.probe", {}] for _ in places], places, document.get("cpus", 4))


_LIMITS: dict[str, Callable[[dict[str, Any]], None]] = {
    CAPTURE: _cases_asked_for, CALLS: _calls_asked_for, DMSETUP: _devices_asked_for,
    **dict.fromkeys((DEVICE, STATUSES, NR_REQUESTS, HOTPLUG), _steps_asked_for)}
