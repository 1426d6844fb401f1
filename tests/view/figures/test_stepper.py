"""The stepper: what it says at a step is what the model did, and what it holds at the end is what the model holds."""

from collections import Counter
from html import unescape

import pytest

from blkmodel.include.linux.blk_mq import blk_mq_tag_set
from blkmodel.live import Choice, Steps, live
from blkmodel.sim.structure import Array
from blkmodel.trace import Alloc, Assign, Call, Free, Item, Return
from blkmodel.view.draw.model_source import line_of_call, model_source, source
from blkmodel.view.facts.recorded import SCENARIOS, STEPPED, live as allocated, passings_of, recorded, replay_of
from blkmodel.view.figures.stepper import last_step, stepper
from tests.view.wellformed import in_fresh_interpreters, label, parsed, words


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return request.param


def test_every_step_is_drawn(scenario):
    labels = set()
    steps = range(0, last_step(scenario) + 1, 1 + last_step(scenario) // 500)  # of very many, some
    for step in steps:
        html = stepper(scenario, step)
        labels.add(label(html))
        for button in parsed(html).iter("button"):
            name, _, target = button.get("data-set").partition("=")
            assert name == "step"
            assert 0 <= int(target) <= last_step(scenario)
    assert len(labels) == len(steps), "each step has words of its own"


def test_every_call_begins_a_step_and_no_event_is_lost(scenario):
    replay = replay_of(scenario)
    calls = [at for at, event in enumerate(replay.events) if type(event) is Call]
    assert sorted(replay.first) == calls
    assert [replay.steps[number - 1].start - 1 for number in replay.first.values()] == list(replay.first)
    inside = [at for step in replay.steps for at in range(step.start, step.end)]
    assert inside == sorted(set(inside))
    changing = (Assign, Item, Alloc, Free)
    assert [at for at, event in enumerate(replay.events) if isinstance(event, changing)] == \
        [at for at in inside if isinstance(replay.events[at], changing)]


def test_the_last_state_is_the_models_own(scenario):
    replay = replay_of(scenario)
    assert replay.objects
    for thing in replay.objects:
        for field in replay.fields(thing):
            real = thing[int(field[1:-1])] if isinstance(thing, Array) else getattr(thing, field)
            assert replay.value(thing, field, len(replay.events)) is real, f"{replay.name(thing)[0]}.{field}"


def test_each_state_follows_from_the_one_before(scenario):
    replay = replay_of(scenario)
    for step in replay.steps[::17]:
        for (thing, field), (old, new) in replay.changes(step.start, step.end).items():
            assert replay.value(thing, field, step.start) is old
            assert replay.value(thing, field, step.end) is new


def test_a_state_on_the_way():
    replay = replay_of("tag-set")
    (tag_set,) = [thing for thing in replay.objects if type(thing) is blk_mq_tag_set]
    depths = [replay.value(tag_set, "queue_depth", replay.end(step)) for step in range(last_step("tag-set") + 1)]
    assert (depths[0], depths[-1]) == (0, 32)
    assert depths == sorted(depths)
    begun, _ = replay.calls_of("blk_mq_alloc_tag_set")[0]
    assert depths[begun] == 32
    assert replay.value(tag_set, "tags", replay.end(begun - 1)) is None


def test_memory_is_what_the_model_took(scenario):
    replay, done = replay_of(scenario), recorded(scenario)
    (taken, size), (freed, back), _ = replay.memory(len(replay.events))
    after = allocated(done.kernel)
    assert taken - freed == len(after) - len(done.before)
    assert size - back == sum(each for _, each in after.values()) - sum(each for _, each in done.before.values())
    said = label(stepper(scenario, last_step(scenario)))
    assert f"{taken} allocations so far, {size} bytes; {freed} given back." in said


def test_over_out_and_the_caller(scenario):
    replay = replay_of(scenario)
    for number, step in enumerate(replay.steps, 1):
        over, out = replay.over(number), replay.out(number)
        if type(step.event) is Call and over:
            called = replay.steps[replay.first[step.end] - 1].path[len(step.path)]
            assert replay.steps[over - 1].start > called.end
            assert replay.steps[over - 2].start <= called.end
        elif over:
            assert over == number + 1
        if out:
            assert replay.steps[out - 1].start > step.path[-1].end
        caller = replay.caller(number)
        assert bool(caller) == (len(step.path) > 1)
        if caller:
            assert caller < number
            assert replay.steps[caller - 1].path == step.path[:-1]
            assert replay.steps[caller - 1].end <= step.path[-1].start


def test_a_step_in_words():
    replay = replay_of("tag-set")
    number = next(n for n, name in replay.calls_of("blk_mq_alloc_rq_map") if name == "blk_mq_alloc_rq_map")
    said = words(stepper("tag-set", number))
    assert "blk_mq_alloc_rq_map is called, then calls blk_mq_hw_queue_to_node ." in said
    assert "task insmod, CPU 0" in said
    assert 'aria-current="step"' in stepper("tag-set", number)
    ends = [n for n, step in enumerate(replay.steps, 1) if type(step.event) is Return and step.event.value == 0]
    assert "then returns 0" in words(stepper("tag-set", ends[0]))


def test_looking_for_a_function():
    hits = replay_of("tag-set").calls_of("blk_mq_init_tags")
    assert len(hits) == 3
    html = stepper("tag-set", 0, "blk_mq_init_tags")
    assert "3 calls; ahead, at step:" in words(html)
    assert all(f'data-set="step={number}">{number} blk_mq_init_tags' in html for number, _ in hits)
    assert "has “<b>” in its name" in words(stepper("tag-set", 0, "<b>"))


def test_a_log_line_appears_when_it_is_printed():
    replay = replay_of("load")
    at = [step for step in range(last_step("load") + 1) if "module loaded" in words(stepper("load", step))]
    assert at == list(range(at[0], last_step("load") + 1))
    assert replay.log(len(replay.events)) == ["null_blk: module loaded"]


def test_what_passes_on_the_bus():
    """Each passing belongs to one step, which shows it as what passes now, and says it in words."""
    for name in ("nvme-read", "probe"):
        replay, passed = replay_of(name), passings_of(name)
        of_step = Counter(replay.step_of(each.at) for each in passed)
        assert sum(of_step.values()) == len(passed)
        for step, count in of_step.items():
            html = stepper(name, step)
            now = [item for item in parsed(html).iter("li") if (item.get("class") or "").startswith("now k-")]
            before = sum(n for at, n in of_step.items() if at < step)
            assert [item.get("data-key") for item in now] == [f"p{before + n}" for n in range(count)]
            assert {item.get("data-set") for item in now} == {f"step={step}"}
            count_said = f"{count} pass{'es' * (count == 1)} in this step"
            assert f"{count_said}; {before + count} of {len(passed)} have passed." in words(html)
            said = "; ".join(each.label for each in passed[before:before + count])
            assert f"On the bus: {said}." in unescape(label(html))


def test_a_read_on_the_bus():
    replay, passed = replay_of("nvme-read"), passings_of("nvme-read")
    assert [each.kind for each in passed] == ["doorbell", "command", "completion", "interrupt", "doorbell"]
    rung = replay.step_of(passed[0].at)
    assert replay.steps[rung - 1].path[-1].function == "nvme_write_sq_db"
    assert "0 of 5 have passed." in words(stepper("nvme-read", rung - 1))
    assert "in this step" not in words(stepper("nvme-read", rung - 1))
    assert "1 passes in this step; 1 of 5 have passed." in words(stepper("nvme-read", rung))
    device = words(stepper("nvme-read", replay.step_of(passed[1].at)))
    assert device.startswith("The controller acts by itself.")
    assert "device nvme The source" in device
    assert "3 pass in this step; 4 of 5 have passed." in device


def test_no_bus_where_there_is_none(scenario):
    assert ("On the bus" in stepper(scenario, 1)) == (scenario in ("nvme-read", "probe"))


def test_the_source_is_the_functions_own():
    lines = source("blk_mq_alloc_rq_map", "block/blk-mq.c")
    assert lines[0].startswith("def blk_mq_alloc_rq_map(set: blk_mq_tag_set, hctx_idx: int, ")
    assert lines[-1].strip().startswith("return")
    at = line_of_call("__blk_mq_alloc_rq_map", "block/blk-mq.c", "blk_mq_alloc_rq_map")
    shown = model_source("__blk_mq_alloc_rq_map", "block/blk-mq.c", at)
    assert "blk_mq_alloc_rq_map" in words(shown.split('class="here"')[1].split("</span>")[0])
    assert line_of_call("__blk_mq_alloc_rq_map", "block/blk-mq.c", "blk_mq_init_tags") is None


def test_an_embedded_structure_is_named_by_what_it_is_in():
    names = [replay_of("tag-set").name(thing) for thing in replay_of("tag-set").objects]
    assert ("sbitmap 1", "blk_mq_tags 1.bitmap_tags.sb") in names
    assert len(names) == len(set(names))


def test_it_is_the_same_every_time():
    assert len(in_fresh_interpreters("stepper('load', 300, 'tags')", "blkmodel.view.figures.stepper")) == 1


def test_as_a_live_figure(monkeypatch):
    monkeypatch.setenv("BLKMODEL_STILL", "1")
    figure = live(stepper, scenario=Choice(STEPPED), step=Steps(last_step), find="")
    figure.set(scenario="read", step=9999)
    assert figure.values["step"] == last_step("read")
    assert figure.drawn.html == stepper("read", last_step("read"))
    assert repr(figure).startswith("stepper: read 4 KiB from null_blk, step ")


def test_a_context_is_gone_on_with():
    """A softirq in the middle of a task: its steps are its own, and the task goes on where it was."""
    replay = replay_of("read-one")
    kinds = [replay.recording.contexts[step.context].name for step in replay.steps]
    runs = [name for i, name in enumerate(kinds) if i == 0 or kinds[i - 1] != name]
    assert runs[:4] == ["dio", "kblockd", "softirq 4", "dio"]


def test_in_jupyterlab_the_moves_are_widgets(monkeypatch):
    monkeypatch.delenv("BLKMODEL_STILL", raising=False)
    figure = live(stepper, scenario=Choice(STEPPED), step=Steps(last_step), find="")
    figure._repr_mimebundle_()
    into, over, out, caller = figure._widgets["moves"].children
    assert [each.description for each in (into, over, out, caller)] == ["Step into", "Step over", "Step out",
                                                                        "Back to the caller"]
    figure.set(step=3)
    for button, target in ((over, replay_of("tag-set").over(3)), (into, replay_of("tag-set").over(3) + 1)):
        button.click()
        assert figure.values["step"] == target == figure._widgets["controls"]["step"].value
    assert figure._widgets["shown"].value.endswith(stepper("tag-set", figure.values["step"]))
    figure.set(step=last_step("tag-set"))
    assert into.disabled
    assert not caller.disabled
