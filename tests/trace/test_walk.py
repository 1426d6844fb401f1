"""A walk through a recording: each event in the functions that its context is in, whatever ran in between."""

from blkmodel import boot, scenario
from blkmodel.trace import Call, Enter, Leave, Return, record
from blkmodel.trace.walk import walk


def recording():
    boot(4)
    scenario.null_blk_load(submit_queues=4, irqmode=2)
    return record(scenario.io, "nullb0", "write", 0, 4096, cpu=1)


def test_the_path_is_that_of_the_context():
    done = recording()
    seen = 0
    for moment in walk(done):
        event = moment.event
        if type(event) is Call:
            assert (event.context, event.depth) == (moment.context, len(moment.path))
        elif type(event) is Return:
            assert moment.path[-1].function == event.function
        seen += 1
    assert seen == len(done.events) - len(done.of(Enter, Leave))


def test_a_walk_to_some_events_has_the_same_moments():
    done = recording()
    wanted = [(moment.event, moment.context, [*moment.path], moment.time) for moment in walk(done)
              if type(moment.event) is Return]
    assert wanted
    assert [(*each[:2], [*each.path], each.time) for each in walk(done, (Return,))] == wanted


def test_times_go_on():
    times = [moment.time for moment in walk(recording())]
    assert times == sorted(times)
    assert times[-1] - times[0] == 10_000
