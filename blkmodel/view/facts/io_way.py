"""The way of one I/O: the stations that it passes, in which calls, by whom, and where it waits."""

from typing import NamedTuple

from blkmodel.trace import Assign, Call, Doorbell, Recording, Return, walk

DISKS = {"NVMe, 4 queues": "nvme 4", "NVMe, 1 queue": "nvme 1", "null_blk, 4 queues": "null_blk 4",
         "null_blk, 1 queue": "null_blk 1"}
SIZES = {"4 KiB": 4, "64 KiB": 64, "512 KiB": 512, "1 MiB": 1024, "2 MiB": 2048}


class Station(NamedTuple):
    """A place on the way: whoever calls one of `functions` is there. waits: a request may lie there for a while.

    The dispatch list has no function of its own: whoever puts a request on it is there. So is it with the doorbell.
    """

    name: str
    functions: tuple[str, ...]
    waits: bool = False


class Stop(NamedTuple):
    """A station that was passed: in how many calls, the first one's function and file, and everybody who made one.

    who: (kind, name, CPU), in the order in which they came.
    """

    station: Station
    times: int
    function: str
    file: str
    who: tuple[tuple[str, str, int], ...]


_JOIN = ("bio_attempt_back_merge", "bio_attempt_front_merge", "bio_attempt_discard_merge")
_KINDS = {"irq": "interrupt", "softirq": "softirq"}  # in a reader's words
_DISPATCH_LIST = Station("dispatch list", (), True)
_DOORBELL = Station("the doorbell", ())
STATIONS = (
    Station("the process asks", ("blkdev_read_iter", "blkdev_write_iter")),
    Station("a bio", ("submit_bio",)),
    Station("cut in two", ("bio_split",)),
    Station("joined to a request", _JOIN),
    Station("queue for a tag", ("sbitmap_prepare_to_wait",), True),
    Station("a tag, and a request", ("blk_mq_rq_ctx_init",)),
    Station("plug", ("blk_add_rq_to_plug",), True),
    Station("scheduler", ("dd_insert_request",), True),
    Station("software queue", ("blk_mq_insert_requests", "__blk_mq_insert_request"), True),
    _DISPATCH_LIST,
    Station("the driver", ("nvme_queue_rq", "null_queue_rq")),
    _DOORBELL,
    Station("an interrupt", ("nvme_irq", "null_cmd_timer_expired")),
    Station("a softirq", ("blk_done_softirq",)),
    Station("the bio ends", ("bio_endio",)),
    Station("the request ends", ("__blk_mq_end_request",)))


def stops(recording: Recording) -> list[Stop]:
    """The stations of an I/O, in the order in which it first came to each. A bio that could not be joined does not
    count."""
    station_of = {function: station for station in STATIONS for function in station.functions}
    lists = {id(event.new.dispatch) for event in recording.of(Assign) if event.field == "mq_hctx" and event.new}
    found: dict[Station, tuple] = {}
    for moment in walk(recording):
        event = moment.event
        call, station = event, None
        if type(event) is Call and event.function not in _JOIN:
            station = station_of.get(event.function)
        elif type(event) is Return and event.function in _JOIN and event.value:
            station = station_of[event.function]
        elif type(event) is Assign and event.field == "queuelist" and id(event.new) in lists:
            call, station = moment.path[-1], _DISPATCH_LIST
        elif type(event) is Doorbell and event.side == "sq":
            call, station = moment.path[-1], _DOORBELL
        if station:
            first, whose, times = found.get(station, (call, {}, 0))
            kind, name, cpu = recording.contexts[moment.context]
            kind = _KINDS.get(kind, "process" if name == "dio" else "worker")
            whose[kind, name, cpu] = True
            found[station] = first, whose, times + 1
    return [Stop(station, times, first.function, first.file, tuple(whose))
            for station, (first, whose, times) in found.items()]


def waited(made: list[Stop]) -> list[str]:
    """The names of the stations where something waited."""
    return [stop.station.name for stop in made if stop.station.waits]
