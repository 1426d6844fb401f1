"""What blktrace would tell of a recording: its actions (Q, G, I, D, C, …), where the kernel has its trace points.

The model has no trace points. Each of these actions follows from a call that it makes, and what changed in it.
"""

from typing import NamedTuple

from blkmodel.include.linux.blk_types import BIO_TRACE_COMPLETION
from blkmodel.trace import Assign, Call, Recording, Return
from blkmodel.trace.walk import Moment, walk

MEANINGS = {"Q": "a bio is submitted", "X": "a bio is cut in two", "M": "a bio is joined to the end of a request",
            "F": "a bio is joined to the front of a request", "G": "a request is got for a bio",
            "P": "the plug holds its first request", "U": "the plug is pulled",
            "UT": "the plug is pulled because its task goes to sleep", "I": "a request is put in a queue",
            "R": "the driver gives a request back", "D": "a request goes to the driver",
            "C": "a request, or some of its bytes, is done"}
_WHEN_CALLED = {"__blk_mq_insert_req_list": "I", "blk_mq_sched_request_inserted": "I", "blk_mq_start_request": "D",
                "__blk_mq_requeue_request": "R", "blk_update_request": "C"}
_WHEN_TRUE = {"bio_attempt_back_merge": "M", "bio_attempt_front_merge": "F"}
_PULLED = ("blk_finish_plug", "blk_mq_make_request")
_PULL = ("blk_flush_plug_list", "blk_mq_flush_plug_list")


class Action(NamedTuple):
    """letter: a key of MEANINGS. cpu, who: on which CPU, and the name of the task or interrupt. time: nanoseconds."""

    letter: str
    cpu: int
    who: str
    time: int


def actions(recording: Recording) -> list[Action]:
    """Return the actions of a recording, in order."""
    made: list[Action] = []
    for moment in walk(recording):
        if letter := _letter(moment, made[-1].letter if made else ""):
            who = recording.contexts[moment.context]
            made.append(Action(letter, who.cpu, who.name, moment.time))
    return made


def listing(recording: Recording) -> str:
    """The actions as text, a line each: CPU, microseconds since the first one, action, who, and what it means."""
    made = actions(recording)
    return "\n".join(f"{each.cpu:3} {(each.time - made[0].time) / 1000:9.3f}  {each.letter:2}  {each.who:8} "
                     f"{MEANINGS[each.letter]}" for each in made)


def _letter(moment: Moment, last: str) -> str | None:
    """The action that a moment stands for, after the action `last`; or None."""
    event, within = moment.event, moment.within
    if type(event) is Call:
        if event.function == "blk_mq_sched_insert_requests":
            return "U" if any(within(by, *_PULL) for by in _PULLED) else "UT"
        if event.function == "blk_mq_try_issue_directly" and last == "P":
            return "U"  # a plug that keeps only one request back lets the one before go
        return _WHEN_CALLED.get(event.function)
    if type(event) is Return and event.value:
        if event.function == "blk_mq_get_request":
            return "G" if within("blk_mq_make_request", event.function) else None
        if event.function == "bio_split":
            return "X" if within("__blk_queue_split", moment.path[-2].function, event.function) else None
        return _WHEN_TRUE.get(event.function)
    if type(event) is Assign:
        if event.field == "bi_flags" and (event.new ^ event.old) >> BIO_TRACE_COMPLETION & 1:
            return "Q" if within("generic_make_request_checks") else "C" if within("bio_endio") else None
        if event.field == "queuelist" and within("blk_mq_insert_requests"):
            return "I" if event.new is not None else None
        if event.field == "rq_count" and within("blk_add_rq_to_plug"):
            return "P" if event.new == 1 else None
    return None
