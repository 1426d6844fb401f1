"""The stack: what stands in its parts is what the recording has, and each leads to a chapter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blkmodel import boot, scenario
from blkmodel.device.controller import Controller
from blkmodel.include.linux.blkdev import request
from blkmodel.trace import Assign, Command, Doorbell, record
from blkmodel.view.facts.one_read import LAYERS, parts
from blkmodel.view.figures.stack import stack
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words

BOOK = Path(__file__).resolve().parents[3] / "book"
CASES = [(1, 4, 0, False), (1, 4, 0, True), (3, 1, 8, True), (3, 2, 1020, False), (0, 1, 4, False)]


def says(name, *case):
    return next((part.says for part in parts(*case) if part.name == name), None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_part_is_drawn_once_and_leads_to_a_chapter(case):
    html, way = stack(*case), parts(*case)
    links = re.findall(r'href="([\w-]+)\.html"><b>(\d+) ([^<]*)</b>', html)
    assert sorted(int(number) for _, number, _ in links) == list(range(1, len(way) + 1))
    for chapter, number, name in links:
        part = way[int(number) - 1]
        assert (part.name, part.chapter) == (name, chapter)
        assert (BOOK / f"{chapter}.ipynb").exists()
        assert part.says in words(html).replace("&#x27;", "'")
        assert f"{number}. {name}: {part.says}" in label(html)
    drawn = {layer.text for layer in parsed(html).iterfind("div/b")}
    assert drawn == {LAYERS[part.layer] for part in way} | {None}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_goes_down_to_the_device_and_up_again(case):
    layers = [part.layer for part in parts(*case)]
    bottom = layers.index(len(LAYERS) - 1)
    assert layers[:bottom] == sorted(layers[:bottom])
    assert layers[bottom:] == sorted(layers[bottom:], reverse=True)
    assert layers[0] == layers[-1] == 0


@pytest.mark.parametrize("case", [case for case in CASES if not case[3]], ids=str)
def test_its_numbers_are_those_of_the_model(case):
    cpu, queues, first, _ = case
    boot(4)
    scenario.nvme_probe(controller=Controller(queues, dbbuf=False))
    recording = record(scenario.io, "nvme0n1", "read", first << 10, 4096, cpu=cpu)
    command, = recording.of(Command)
    tail = next(event.value for event in recording.of(Doorbell) if event.side == "sq")
    tag = max(event.new for event in recording.of(Assign) if type(event.object) is request and event.field == "tag")
    assert command.command.command_id == tag
    assert says("A tag, and its request", *case) == f"tag {tag}, of 0 to 1022"
    assert says("Submission ring", *case) == f"queue pair {command.queue}, slot {command.slot}: 64 bytes, tag {tag}"
    assert says("Doorbell", *case) == f"4 bytes: the tail is now {tail}"
    assert says("A bio", *case) == f"nvme0n1, sectors {2 * first} to {2 * first + 7}"
    assert says("Controller", *case) == f"fetches: 8 blocks from {command.command.slba}"
    assert says("Flash", *case) == "namespace 1: 4096 bytes into the process's page"


def test_a_volume_adds_a_layer_and_moves_the_sectors():
    plain, mapped = parts(1, 4, 8, False), parts(1, 4, 8, True)
    assert [part.name for part in mapped if part.layer == 3] == ["A table", "The copy ends"]
    assert not [part for part in plain if part.layer == 3]
    assert says("A bio", 1, 4, 8, True) == "dm-0, sectors 16 to 23"
    assert says("A table", 1, 4, 8, True) == "linear: nvme0n1, sectors 2064 to 2071"
    assert says("Controller", 1, 4, 8, True) == "fetches: 8 blocks from 2064"


def test_one_queue_brings_a_scheduler_a_worker_and_a_softirq():
    assert says("Scheduler", 3, 1, 0, False) == "mq-deadline: waits here"
    assert says("Scheduler", 3, 2, 0, False) is None
    assert "k-worker" in stack(3, 1).split("</style>")[1]
    assert {part.who.kind for part in parts(3, 1, 0, False)} == {"task", "device", "irq", "softirq"}


def test_the_same_in_every_interpreter():
    assert len(in_fresh_interpreters("stack(3, 1, 8, True)", "blkmodel.view.figures.stack")) == 1
