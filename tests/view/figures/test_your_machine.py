"""What a reader's own recording is drawn as, and said of: the same as `blkmodel check`."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from blkmodel.capture.check import check_file
from blkmodel.capture.files import FileError
from blkmodel.capture.shapes import ShapeError
from blkmodel.live import message
from blkmodel.sim.machine import format_cpulist
from blkmodel.view.facts.at_hand import MOST_TRIED, at_hand
from blkmodel.view.figures.your_machine import last_case, last_cpu, your_machine
from tests.capture.test_formats import DROP, HCTX, MAP, NVME, changed

REFUSED = (FileError, ShapeError)
RECORDINGS = Path(__file__).parents[2] / "recordings"
DEBIAN = sorted((RECORDINGS / "debian" / "maps").glob("*.json"))


def says(shown):
    return re.search(r'<p class="says">(.*?)</p>', shown)[1]


def written(**more):
    return json.dumps({**MAP, **more})


@pytest.mark.parametrize("path", DEBIAN, ids=lambda path: path.stem)
def test_a_recording_of_debian_is_said_to_be_as_check_says(path):
    found = at_hand(path.read_text())
    assert check_file(path).summary == f"{len(found.cases)} of {len(found.cases)} cases"
    assert [verdict for verdict, _ in found.verdicts] == ["agrees"] * len(found.cases)
    assert says(your_machine(path.read_text())).endswith(f"of {len(found.cases)} cases, {len(found.cases)} agree.")


def test_what_differs_is_what_check_finds(tmp_path):
    document = json.loads((RECORDINGS / "linux-6.12/maps/c8smt.json").read_text())
    document["cases"] = [case for driver in ("nvme", "null_blk") for case in document["cases"]
                         if case["driver"] == driver][::12]
    document["kernel"]["release"] = "5.4.120"
    (tmp_path / "labelled.json").write_text(json.dumps(document))
    expected = check_file(tmp_path / "labelled.json")
    found = at_hand(json.dumps(document))
    lines = [line for verdict, lines in found.verdicts for line in lines if verdict == "differs"]
    assert lines == [line.partition(": ")[2] for line in expected.differences]
    differing = [i for i, (verdict, _) in enumerate(found.verdicts) if verdict == "differs"]
    assert len(found.cases) - len(differing) == expected.facts["passed"]
    shown = your_machine(json.dumps(document), differing[0])
    assert f"{len(differing)} differ" in says(shown)
    assert f"<li>{found.verdicts[differing[0]][1][0]}</li>" in shown
    assert 0 < len(differing) < len(found.cases)
    assert f"{format_cpulist(differing)} differ" in shown.rpartition("<p>Cases ")[2]


@pytest.mark.parametrize("path", DEBIAN, ids=lambda path: path.stem)
def test_the_map_is_what_the_kernel_said(path):
    found = at_hand(path.read_text())
    for number, case in enumerate(found.cases):
        q, _ = found.queue(number)
        drawn = {(hctx.queue_num, ("default", "read", "poll")[hctx.type]): (list(hctx.cpumask), hctx.tags.nr_tags)
                 for hctx in q.queue_hw_ctx}
        assert drawn == {(hctx["index"], hctx["type"]): (hctx["cpus"], hctx["nr_tags"])
                         for hctx in case["observed"]["hctxs"]}
        for ctx in q.queue_ctx:
            assert all(ctx.cpu in list(hctx.cpumask) for hctx in ctx.hctxs if hctx)
    lit = your_machine(path.read_text(), 2, 1)
    assert "<b>CPU 1, node 0" in lit
    assert lit.count('data-set="focus=null"') == 1
    assert (last_case(path.read_text()), last_cpu(path.read_text())) == (30, len(found.machine.possible) - 1)


def test_a_release_that_is_not_known_is_drawn_all_the_same():
    document = changed(MAP, "kernel", "release", to="7.7.7")
    shown = your_machine(json.dumps(document))
    assert says(shown) == ("Linux 7.7.7 on 2 CPUs, 1 node. The model of that release: of 1 case, 1 is not modelled.")
    assert "which CPU uses which queue is known from 5.4 to 6.19" in shown
    assert "hctx 0 (default): used by CPUs 0-1" in shown


def test_disks_that_are_alike_are_tried_once():
    many = [changed(NVME["cases"][0], "device", "max_ioqpairs", to=1 + number % (MOST_TRIED + 1))
            for number in range(2 * MOST_TRIED + 2)]
    verdicts = [verdict for verdict, _ in at_hand(written(cases=many)).verdicts]
    assert verdicts.count("is not looked at") == 2
    assert verdicts[:MOST_TRIED] == verdicts[MOST_TRIED + 1:-1]


def test_what_is_left_out_is_not_drawn():
    bare = MAP
    for name in ("type", "nr_tags"):
        bare = changed(bare, "cases", 0, "observed", "hctxs", 0, name, to=DROP)
    assert "(default): used by CPUs 0-1" in your_machine(json.dumps(bare))
    assert ">none</text>" in your_machine(json.dumps(bare))
    assert says(your_machine(written(cases=[]))).endswith("No disk of it has hardware queues.")
    assert last_case(written(cases=[])) == 0
    empty = changed(MAP, "cases", 0, "observed", "hctxs", to=[])
    assert "No queue, or more than are drawn." in your_machine(json.dumps(empty))
    assert "Choose a file" in your_machine("  ")
    assert (last_case(""), last_cpu("")) == (0, 0)


@pytest.mark.parametrize(("text", "why"), [
    ("{", "expected JSON"), ("[]", "expected an object"), ("<script>alert(1)</script>", "expected JSON"),
    ('{"format": "<b>"}', "&#x27;&lt;b&gt;&#x27;"), ("9" * 30, "expected numbers of at most 20 digits"),
    ("[" * 100_000, "nested at most 200 deep"),
    (json.dumps(changed(MAP, "format", to="blkmodel-calls/1")), "expected"),
    (written(cases=[{**MAP["cases"][0], "observed": {"hctxs": [{**HCTX, "cpus": [7]}]}}]),
     "cases[0]: expected queues of CPUs that the machine can have"),
    ((RECORDINGS / "linux-5.4/calls/read-4k.json").read_text(), "expected blkmodel-capture/1, which blkmodel capture"),
])
def test_what_is_no_recording_of_queues_is_refused(text, why):
    with pytest.raises(REFUSED) as refused:
        your_machine(text)
    said = message(refused.value)
    assert why in said
    assert "<b>" not in said
    assert "<script>" not in said


@pytest.mark.parametrize("path", sorted((RECORDINGS / "hostile").glob("*.json")), ids=lambda path: path.stem)
def test_hostile_files_are_refused_or_differ(path):
    if path.stem == "check_hctxs_empty":
        assert "hctxs: the kernel has 0, the model 2" in your_machine(path.read_text())
    else:
        with pytest.raises(REFUSED, match="expected"):
            your_machine(path.read_text())


NUMBERS = st.integers(0, 9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.fixed_dictionaries(
    {"index": NUMBERS, "cpus": st.lists(NUMBERS, max_size=6)},
    optional={"type": st.sampled_from(["default", "read", "poll"]), "nr_tags": st.integers(0, 2000)}), max_size=6),
    st.integers(1, 9), NUMBERS, st.sampled_from(["5.4", "6.12.1", "9.9", "<i>"]),
    st.sampled_from(["nvme", "null_blk", "virtio_blk", "scsi <i>", "x"]))
def test_any_queues_are_drawn_or_refused(hctxs, cpus, focus, release, driver):
    case = {"driver": driver, "params": {}, "observed": {"hctxs": hctxs}}
    other = {"device": {"queues": 2, "vectors": 2}}
    case |= {"nvme": {"device": {"max_ioqpairs": 2}}, "null_blk": {}}.get(driver, other)
    all_of = f"0-{cpus - 1}"
    machine = {"possible": all_of, "present": all_of, "online": all_of, "nodes": {"0": all_of}}
    text = written(kernel={"release": release}, machine=machine, cases=[case])
    fits = all(cpu < cpus for hctx in hctxs for cpu in hctx["cpus"]) and "<" not in driver
    with nullcontext() if fits else pytest.raises(REFUSED):
        assert "<i>" not in your_machine(text, 0, focus)
