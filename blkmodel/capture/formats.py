"""Reading recordings: the file formats, and what each must hold.

`blkmodel-capture/1` (queue maps), `blkmodel-calls/1` (call trees), `blkmodel-device/1` (what a controller saw) and
`blkmodel-dmsetup/1` (sessions of dmsetup) are checked to the last field, so that whatever compares them with the model
can rely on it.
"""

import json
from pathlib import Path

from blkmodel.capture.shapes import (
    ShapeError, anything, count, cpu_number, cpulist, device_path, fields, interrupt, list_of, mapping, number_from,
    one_of, parameter, text, text_or_none)
from blkmodel.sim.machine import MachineError, from_capture

CAPTURE, CALLS = "blkmodel-capture/1", "blkmodel-calls/1"
DEVICE, DMSETUP = "blkmodel-device/1", "blkmodel-dmsetup/1"


class FormatError(ValueError):
    """A file is not a recording that can be read: which file, where in it, and what was expected there."""

    def __init__(self, path, message):
        self.path = str(path)
        self.message = message
        super().__init__(f"{path}: {message}")


_hctx = fields({"index": count, "cpus": list_of(count)},
               {"type": one_of("default", "read", "poll"), "nr_tags": count, "nr_reserved_tags": count})
_observed = fields(
    {"hctxs": list_of(_hctx)},
    {"queues": fields({"default": count, "read": count, "poll": count}),
     "nr_requests": count,
     "scheduler": text,
     "sbitmap": fields({"depth": count, "bits_per_word": count, "map_nr": count, "wake_batch": count}),
     "irq_affinity": mapping(interrupt, cpulist)})
_nvme_case = fields(
    {"driver": text,
     "params": fields({}, {"write_queues": count, "poll_queues": count, "io_queue_depth": number_from(2)}),
     "device": fields({"max_ioqpairs": number_from(1)}),
     "observed": _observed})
_null_blk_case = fields({"driver": text, "params": mapping(lambda name: True, parameter), "observed": _observed})


def _case(value, place):
    fields({"driver": one_of("nvme", "null_blk")}, closed=False)(value, place)
    (_nvme_case if value["driver"] == "nvme" else _null_blk_case)(value, place)


_machine = fields(
    {"possible": cpulist, "present": cpulist, "online": cpulist, "nodes": mapping(cpu_number, cpulist)},
    {"possible_nodes": mapping(cpu_number, cpulist), "thread_siblings": mapping(cpu_number, cpulist)}, closed=False)


def _call(value, place):
    """A name, {name: [calls]}, or {"repeat": n, "calls": [calls]}."""
    expected = 'a name, {"name": [calls]} or {"repeat": n, "calls": [calls]}'
    if isinstance(value, str):
        return
    if not isinstance(value, dict):
        raise ShapeError(place, expected, value)
    if "repeat" in value:
        fields({"repeat": number_from(1), "calls": list_of(_call)})(value, place)
    elif len(value) != 1:
        raise ShapeError(place, expected, sorted(value))
    else:
        mapping(lambda name: True, list_of(_call))(value, place)


def _step(value, place):
    """A name and its object; of dmsetup, the words of the command line."""
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise ShapeError(place, "a step: a list that begins with its name", value)
    if value[0] == "dmsetup":
        list_of(text)(value, place)
    elif len(value) != 2 or not isinstance(value[1], dict):
        raise ShapeError(place, f'a step such as ["{value[0]}", {{...}}]', value)
    elif value[0] == "io":
        fields({"disk": text, "op": one_of("read", "write"), "offset": count, "length": count, "cpu": count,
                "page_runs": list_of(number_from(1))})(value[1], f"{place}[1]")
    else:
        mapping(lambda name: True, parameter)(value[1], f"{place}[1]")


def _event(value, place):
    """What a controller saw: the kind, and what there is to say of it."""
    if not isinstance(value, list) or not value or value[0] not in _EVENTS:
        raise ShapeError(place, f"an event: a list that begins with one of {', '.join(_EVENTS)}", value)
    shapes = _EVENTS[value[0]]
    if len(value) != len(shapes) + 1:
        raise ShapeError(place, f"{len(shapes)} facts after {value[0]}", value)
    for i, (shape, fact) in enumerate(zip(shapes, value[1:], strict=True), 1):
        shape(fact, f"{place}[{i}]")


def _written(value, place):
    """A register's value."""
    text(value, place)
    if value != "address":
        try:
            int(value, 16)
        except ValueError:
            raise ShapeError(place, 'a hexadecimal number such as 0x460001, or "address"', value) from None


def _number_or_numbers(value, place):
    if type(value) is list:
        list_of(count)(value, place)
    else:
        count(value, place)


def _command(required):
    def check(value, place):
        fields({"opcode": count, "name": text, **required}, closed=False)(value, place)
        for name, fact in value.items():
            if name != "name":
                _number_or_numbers(fact, f"{place}.{name}")
        if value["name"] == "CREATE_SQ":
            fields({"sqid": count, "qsize": count}, closed=False)(value, place)
    return check


_EVENTS = {"read": (text,), "write": (text, _written), "sq_doorbell": (count, count), "cq_doorbell": (count, count),
           "admin": (_command({}),), "io": (_command({"sqid": count}),)}
_scenario = fields({"name": text, "cpus": number_from(1), "setup": list_of(_step), "traced": _step,
                    "roots": list_of(text)}, closed=False)
_context = fields({"context": one_of("task", "irq", "softirq"), "calls": list_of(_call)}, closed=False)
_session_step = fields(
    {"dmsetup": text, "exit": count},
    {"name": text, "new_name": text, "table": text_or_none, "failed_ioctl": text, "error": text,
     "kernel_log": list_of(text), "output": text}, closed=False)
_session = fields({"format": text, "kernel": anything, "session": list_of(_session_step),
                   "devices": mapping(device_path, fields({"sectors": count}, closed=False))}, {"cpus": number_from(1)},
                  closed=False)
_any = fields({"format": one_of(CAPTURE, CALLS, DEVICE, DMSETUP), "kernel": fields({"release": text}, closed=False)},
              closed=False)
_SHAPES = {
    CAPTURE: fields({"format": text, "kernel": anything, "machine": _machine, "cases": list_of(_case)}, closed=False),
    CALLS: fields({"format": text, "kernel": anything, "scenario": _scenario, "contexts": list_of(_context)},
                  closed=False),
    DEVICE: fields({"format": text, "kernel": anything, "events": list_of(_event),
                    "scenario": fields({"cpus": number_from(1), "steps": list_of(_step)}, closed=False)}, closed=False),
    DMSETUP: _session,
}


def read(path):
    """Return a recording as what JSON makes of it, once it is known to be whole. Raises FormatError."""
    document = _parse(path)
    try:
        _any(document, "")
        _SHAPES[document["format"]](document, "")
    except ShapeError as why:
        raise FormatError(path, str(why)) from why
    if document["format"] == CAPTURE:
        try:
            from_capture(document["machine"])
        except MachineError as why:
            raise FormatError(path, f"machine: expected a machine that a kernel can boot on: {why}") from why
    return document


def _parse(path):
    try:
        return json.loads(Path(path).read_text("utf8"))
    except OSError as why:
        raise FormatError(path, f"expected a file that can be read: {why.strerror}") from why
    except UnicodeDecodeError as why:
        raise FormatError(path, f"byte {why.start}: expected UTF-8 text") from why
    except json.JSONDecodeError as why:
        raise FormatError(path, f"line {why.lineno}, column {why.colno}: expected JSON: {why.msg}") from why
    except RecursionError as why:
        raise FormatError(path, "expected calls that are nested less deeply") from why
