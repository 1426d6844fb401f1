"""Steps from a file or a command line: what each may hold, and how much all of them together may ask for.

A step is the list that scenario.run_step() takes. Together the steps of one file may make at most MOST_REQUESTS
structures the size of a request, and move at most MOST_MOVED bytes; one I/O has at most MOST_IO.
"""

import re
from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

from blkmodel.capture.shapes import (MOST_CPUS, Shape, ShapeError, count, fields, flag, list_of, long_text, mapping,
    number_from, one_of, parameter, plain_name, text)
from blkmodel.device import faults_of
from blkmodel.include.linux.blk_mq import BLK_MQ_MAX_DEPTH
from blkmodel.scenario import CONTROLLER, MOST_LATENCY, MOST_SECTORS, RW_FLAGS, STEPS, VECTORS

MOST_STEPS, MOST_WORDS, MOST_TOGETHER = 1000, 64, 64
MOST_IO, MOST_MOVED = 16 << 20, 256 << 20  # bytes
MOST_REQUESTS = 1 << 18

_PAGES = MOST_IO >> 12


def _times(value: Any, place: str) -> None:
    """How often: a number, or -1 for ever."""
    if value != -1 or type(value) is not int:
        count(value, place, most=1 << 31)


CONTROLLER_SHAPES: dict[str, Shape] = {word: flag if most == 1 else number_from(least, most)
                                       for word, (_, least, most) in CONTROLLER.items()}


def _faults(value: Any, place: str) -> None:
    """What faults_of() reads."""
    text(value, place)
    try:
        faults_of(value)
    except ValueError as why:
        raise ShapeError(place, f"such as 'silent queue=1; fail nth=2 status=0x281' ({why})", value) from why


_cpu, _ms, _offset = number_from(0, MOST_CPUS - 1), number_from(0, MOST_LATENCY), number_from(0, (1 << 63) - 1)
_PROBE = CONTROLLER_SHAPES | {"device": text, "opened": flag, "sectors": number_from(1, MOST_SECTORS), "node": _cpu,
                              "faults": _faults}


def _part(value: Any, place: str) -> None:
    """A step of several that are done together: not one of those that are several themselves."""
    if isinstance(value, list) and value[:1] == ["together"]:
        raise ShapeError(place, "a step that is no together", "together")
    step(value, place)


def _sectors(value: Any, place: str) -> None:
    """Sectors with commas between them."""
    text(value, place)
    if not re.fullmatch(r"([0-9]{1,16}(,[0-9]{1,16}){0,255})?", value):
        raise ShapeError(place, "at most 256 sectors with commas between them", value)


_VALUES: dict[str, Shape] = {
    "op": one_of("read", "write"), "offset": _offset, "length": number_from(0, MOST_IO), "cpu": _cpu,
    "page_runs": list_of(number_from(1, _PAGES), _PAGES), "flags": list_of(one_of(*RW_FLAGS), len(RW_FLAGS)),
    "steps": list_of(fields({"step": _part}, {"ms": _ms}), MOST_TOGETHER), "partitions": one_of("mbr", "gpt"),
    "latency_ms": _ms, "bad_sectors_read": _sectors, "bad_sectors_write": _sectors, "slot": one_of("hotplug"),
    "probability": number_from(0, 100), "times": _times, "vector": number_from(0, 2047), "status": parameter,
    "value": parameter} | dict.fromkeys(("disk", "device", "file", "module", "name", "label", "parts"), text) \
    | dict.fromkeys(("datasync", "dont_retry", "drained"), flag)
"""What a file can say of a step, by the name of the parameter; of bytes and objects of Python it can say nothing."""


def _shape(of: Callable[..., Any], **others: Shape) -> Shape:
    """What a function takes, as a shape."""
    values, takes = _VALUES | others, signature(of).parameters
    needed = {name for name, each in takes.items() if each.default is each.empty}
    return fields({name: shape for name, shape in values.items() if name in needed},
                  {name: shape for name, shape in values.items() if name in takes.keys() - needed})


_VALUES["wanted"] = list_of(fields({each: _VALUES[each] for each in ("op", "offset", "length")},
                                   {each: _VALUES[each] for each in ("page_runs", "flags")}), MOST_TOGETHER)
_SHAPES = {name: _shape(of) for name, of in STEPS.items()
           if all(each.kind is each.POSITIONAL_OR_KEYWORD for each in signature(of).parameters.values())}
_SHAPES |= {name: _shape(STEPS[name], length=_offset) for name in ("discard", "zero_out")}


def step(value: Any, place: str) -> None:
    """A name and its object; of dmsetup, the words of the command line."""
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise ShapeError(place, "a step: a list that begins with its name", value)
    if (name := value[0]) == "dmsetup":
        list_of(long_text, MOST_WORDS)(value, place)
        return
    text(name, place)
    if len(value) != 2 or not isinstance(value[1], dict):
        raise ShapeError(place, f'a step such as ["{name}", {{...}}]', value)
    if name in _SHAPES:
        _SHAPES[name](value[1], f"{place}[1]")
        return
    mapping(plain_name, parameter, most=MOST_WORDS)(value[1], f"{place}[1]")
    if name == "nvme.probe":
        own = {key: given for key, given in value[1].items() if key in _PROBE}
        fields({}, _PROBE)(own, f"{place}[1]")
        if "controller" in value[1]:
            raise ShapeError(f"{place}[1]", "no controller that is made in Python", "controller")


def steps(values: list[Any], places: Iterable[str], cpus: int) -> None:
    """Hold steps, each of which has its shape, against what all of them together may ask for."""
    requests = moved = 0
    for value, place in zip(values, places, strict=True):
        more, bytes_moved = _asked(value, cpus)
        requests, moved = requests + more, moved + bytes_moved
        if requests > MOST_REQUESTS:
            raise ShapeError(place, f"steps that make at most {MOST_REQUESTS} requests", value)
        if moved > MOST_MOVED:
            raise ShapeError(place, f"steps that move at most {MOST_MOVED} bytes", value)


def _asked(value: list[Any], cpus: int) -> tuple[int, int]:
    """About how many requests a step makes, and how many bytes it moves."""
    name, *rest = value
    if name in ("io", "buffered"):
        return 100, rest[0]["length"]
    if name == "aio":
        return 100, sum(each["length"] for each in rest[0]["wanted"])
    if name == "zero_out":
        return 100, rest[0]["length"] >> 4  # it is one page, again and again
    if name == "discard":
        return 100, rest[0]["length"] >> 20
    if name == "together":
        each = [_asked(one["step"], cpus) for one in rest[0]["steps"]]
        return sum(requests for requests, _ in each), sum(moved for _, moved in each)
    if name == "nvme.probe":
        return nvme_requests(rest[0], rest[0], cpus), 0
    return (null_blk_requests(rest[0], cpus) if name.startswith("null_blk.") else 100), 0


def nvme_requests(params: dict[str, Any], device: dict[str, Any], cpus: int) -> int:
    """At most how many requests an NVMe disk makes, of which an admin queue and a namespace take some. `device`: what
    is said of the controller."""
    polled = min(number_of(params, "poll_queues", 0), cpus)
    pairs, vectors, mqes = device.get("max_ioqpairs", 64), device.get("vectors", VECTORS), device.get("mqes", 2047)
    queues = min(pairs, cpus + min(number_of(params, "write_queues", 0), cpus) + polled, vectors - 1 + polled)
    return 500 + queues * min(number_of(params, "io_queue_depth", 1024), mqes + 1, BLK_MQ_MAX_DEPTH)


def null_blk_requests(params: dict[str, Any], cpus: int) -> int:
    """At most how many requests null_blk's disks make; what else a disk is counts as a thousand."""
    queues = cpus if params.get("use_per_node_hctx") else min(max(number_of(params, "submit_queues", 1), 1), cpus)
    queues += number_of(params, "poll_queues", 0)  # of later releases
    return number_of(params, "nr_devices", 1) * (1000 + queues * number_of(params, "hw_queue_depth", 64))


def number_of(params: dict[str, Any], name: str, default: int) -> int:
    """A module's parameter as the number that the kernel will read, or more; 0 where it is none."""
    if isinstance(value := params.get(name, default), str):
        found = re.fullmatch(r"\s*\+?(0[xX][0-9a-fA-F]+|[0-9]+)\s*", value)
        value = int(found[1], 16 if found[1][:2] in ("0x", "0X") else 10) if found and len(value) < 64 else 0
    return max(int(value), 0)
