"""live(): controls from what an author writes, outputs that stay the same, and errors in plain words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from blkmodel.errors import KernelError
from blkmodel.live import Check, Choice, Fixed, Slider, Steps, Text, answer, draw, live, message, widgets
from blkmodel.live.controls import control, settle, words
from blkmodel.sim import MachineError
from tests.live.machine_map import machine_map


@pytest.fixture(autouse=True)
def still(monkeypatch):
    monkeypatch.setenv("BLKMODEL_STILL", "1")


@pytest.mark.parametrize(("wanted", "made", "value"), [
    ((1, 64), Slider(1, 64, label="CPUs"), None),
    ((1, 64, 3), Slider(1, 64, 3, label="CPUs"), None),
    ((1, "present"), Slider(1, "present", label="CPUs"), None),
    ([1, 2], Choice([1, 2], label="CPUs"), None),
    (("nvme", "null_blk"), Choice(("nvme", "null_blk"), label="CPUs"), None),
    ({"one": 1}, Choice({"one": 1}, label="CPUs"), None),
    (True, Check(label="CPUs"), True),
    ("0-3", Text(label="CPUs"), "0-3"),
    (Steps(4), Steps(4, label="CPUs"), None),
    (Slider(1, 4, label="all of them"), Slider(1, 4, label="all of them"), None),
    (8, None, 8),
    (None, None, None),
    (Fixed("0-3"), None, "0-3"),
], ids=str)
def test_an_authors_shorthand(wanted, made, value):
    assert control("cpus", wanted) == (made, value)


def test_a_name_in_words():
    assert [words(n) for n in ("cpus", "poll_queues", "io_scheduler")] == ["CPUs", "poll queues", "I/O scheduler"]


def test_what_is_not_named_has_no_control():
    figure = live(machine_map, cpus=(1, 64))
    assert list(figure.controls) == ["cpus"]
    assert figure.values == machine_values()


def test_values_begin_with_the_views_defaults_unless_the_author_says_otherwise():
    begin = {"cpus": 4, "present": 9}
    figure = live(machine_map, start=begin, cpus=(1, 64), present=(1, "cpus"), marked="1", threads=1)
    assert figure.values == machine_values(cpus=4, present=4, marked="1", threads=1)
    assert figure.drawn.html == machine_map(cpus=4, present=4, marked="1", threads=1)


@pytest.mark.parametrize("controls", [{"cups": (1, 2)}, {"start": {"cups": 2}}])
def test_a_parameter_that_the_view_does_not_have(controls):
    with pytest.raises(ValueError, match="no parameter 'cups'; it has cpus"):
        live(machine_map, **controls)


def test_a_view_that_the_static_site_could_not_call():
    def view(cpus=1):
        return ""

    with pytest.raises(ValueError, match="top level of a module in blkmodel/view"):
        live(view)


def half(cpus):
    return cpus // 2


def test_bounds_may_depend_on_other_parameters():
    values, bounds = settle({"cpus": 8, "present": 9, "step": 7},
                            {"cpus": (1, 64), "present": (1, "cpus"), "step": (0, half)})
    assert values == {"cpus": 8, "present": 8, "step": 4}
    assert bounds == {"cpus": (1, 64), "present": (1, 8), "step": (0, 4)}


def test_a_slider_may_begin_with_none():
    figure = live(machine_map, cpus=(1, 64), present=Slider(1, "cpus", none="every one"))
    assert figure.values["present"] is None
    assert 'value="" placeholder="every one" data-none' in figure.html()
    figure.set(cpus=4)
    assert figure.drawn.html == machine_map(cpus=4, present=4)


def test_no_room_between_bounds():
    with pytest.raises(ValueError, match="nothing between 1 and 0"):
        settle({"a": 0, "b": 1}, {"b": (1, "a")})


def test_figures_that_follow_share_what_they_have_in_common():
    first = live(machine_map, follow="test", name="first", cpus=(1, 64), present=(1, "cpus"))
    first.set(cpus=4)
    second = live(machine_map, follow="test", name="second", threads=(1, 4))
    assert second.values["cpus"] == 4
    second.set(present=2, threads=1)
    assert first.values["present"] == 2
    assert first.drawn.html == second.drawn.html == machine_map(cpus=4, present=2, threads=1)
    again = live(machine_map, follow="test", name="first", cpus=(1, 64), start={"cpus": 6})
    again.set(present=1)
    assert second.values["present"] == 1
    assert first.values["present"] == 2, "a figure whose cell ran again is followed no more"


def test_the_page_gets_a_form_with_names_and_a_still():
    html = live(machine_map, cpus=(1, 64), nodes=[1, 2], marked="", names=True, present=Steps("cpus")).html()
    assert html.count("<svg") == 1
    assert "disabled hidden" in html
    spec = json.loads(re.search(r'data-live="([^"]*)"', html)[1].replace("&quot;", '"'))
    assert spec["view"] == "blkmodel.view.figures.machine_map:machine_map"
    assert spec["bounds"] == {"cpus": [1, 64], "present": [0, "cpus"]}
    for field in re.findall(r"<(?:input|select)\b[^>]*>", html):
        inside_label = html[:html.index(field)].rpartition("<label>")[2].count("</label>") == 0
        assert "aria-label" in field or inside_label, field


def test_what_is_long_has_a_line_of_its_own():
    def form(**controls):
        return live(machine_map, **controls).html().partition("<form")[2].partition("</form>")[0]

    assert "blk-wide" not in form(marked=Text(), nodes=[1, 2])
    assert form(marked=Text(size=48)).count("<textarea rows=\"1\"") == 1
    assert "blk-wide" in form(nodes={"one node, and all of the memory on it": 1, "two": 2})


def test_a_text_can_come_from_a_file(monkeypatch):
    monkeypatch.delenv("BLKMODEL_STILL", raising=False)
    figure = live(machine_map, marked=Text(size=48, file=True, label="a list"))
    assert figure.html().count('<input type="file" aria-label="a file: a list">') == 1
    _, chooser = widgets.build(figure).children[0].children[0].children
    chooser.value = ({"name": "cpus", "type": "", "size": 3, "content": memoryview(b"0-3"),
                      "last_modified": datetime.now(UTC)},)
    assert figure.values["marked"] == "0-3"
    assert figure._widgets["shown"].value.endswith(machine_map(marked="0-3"))


def test_the_stored_output_is_the_same_every_time():
    code = ("from blkmodel.live import live; from tests.live.machine_map import machine_map as m\n"
            "f = live(m, cpus=(1, 64), nodes=[1, 2], marked=''); print(f._repr_mimebundle_())")
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={"BLKMODEL_STILL": "1", "PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
            for seed in "123"}
    assert len(runs) == 1
    assert "widget" not in runs.pop()


def test_without_the_variable_there_is_a_widget_view(monkeypatch):
    monkeypatch.delenv("BLKMODEL_STILL")
    figure = live(machine_map, start={"present": 3}, cpus=(1, 64), present=Steps(8), nodes=[1, 2], marked="",
                  names=True)
    bundle = figure._repr_mimebundle_()
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert bundle["text/plain"] == repr(figure)
    assert bundle["text/html"] == figure.html()
    widgets = figure._widgets
    widgets["controls"]["cpus"].value = 16
    widgets["controls"]["nodes"].value = 2
    assert widgets["shown"].value.endswith(machine_map(cpus=16, present=3, nodes=2))
    widgets["controls"]["marked"].value = "0-"
    assert "neither a number nor a range" in widgets["shown"].value


def test_a_widget_for_a_number_or_none(monkeypatch):
    monkeypatch.delenv("BLKMODEL_STILL")
    figure = live(machine_map, start={"cpus": 6}, cpus=(1, 64), present=Slider(1, "cpus"))
    figure._repr_mimebundle_()
    controls = figure._widgets["controls"]
    assert controls["present"].value is None
    controls["cpus"].value = 9
    assert figure.values == machine_values(cpus=9, present=None)
    controls["present"].children[0].value = 2
    assert figure.values == machine_values(cpus=9, present=2)
    controls["cpus"].value = 1
    assert figure.values == machine_values(cpus=1, present=1)
    controls["present"].children[1].value = True
    assert figure.values == machine_values(cpus=1, present=None)


def machine_values(**values):
    return {"cpus": 8, "present": None, "nodes": 1, "threads": 2, "marked": "", "names": True} | values


def test_the_answer_to_the_page():
    request = {"view": "blkmodel.view.figures.machine_map:machine_map", "bounds": {"present": [1, "cpus"]},
               "values": {"cpus": 4, "present": 9}}
    drawn = json.loads(answer(json.dumps(request)))
    assert drawn == {"html": machine_map(cpus=4, present=4), "error": False, "values": {"cpus": 4, "present": 4},
                     "bounds": {"present": [1, 4]}}


def test_what_the_model_refuses_is_a_message():
    drawn = draw(machine_map, {"marked": "7-3"}, {})
    assert drawn.error
    assert "the range &#x27;7-3&#x27; runs backwards" in drawn.html
    with pytest.raises(MachineError):
        machine_map(marked="7-3")


def test_a_kernel_error_has_its_errno_and_the_log():
    said = message(KernelError(-12, "blk_mq_alloc_tag_set", ["blk-mq: failed to allocate request map", "<gave up>"]))
    assert "<strong>ENOMEM</strong> (12): blk_mq_alloc_tag_set" in said
    assert "<pre>blk-mq: failed to allocate request map\n&lt;gave up&gt;</pre>" in said


def test_a_bug_is_raised_to_an_author_and_told_to_a_reader():
    values = {"cpus": "many"}
    with pytest.raises(TypeError):
        draw(machine_map, values, {})
    request = {"view": "blkmodel.view.figures.machine_map:machine_map", "bounds": {}, "values": values}
    drawn = json.loads(answer(json.dumps(request)))
    assert drawn["error"]
    assert "Traceback" not in drawn["html"]
    assert "The model stopped: TypeError" in drawn["html"]


def test_repr_says_what_the_figure_shows():
    assert repr(live(machine_map, cpus=(1, 64))).startswith("machine_map: A machine of 8 possible CPUs on 1 node(s)")
