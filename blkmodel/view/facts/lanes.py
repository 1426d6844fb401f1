"""Reads and writes by several CPUs, recorded, and which of their runs had which other one queued."""


from blkmodel.trace.lanes import Run

IRQMODES = {"at once, by the submitter": 0, "softirq": 1, "timer": 2}


def source_of(done: list[Run], run: Run) -> int | None:
    """The number of the run in which this one was queued; None where it only goes on, or nobody was there."""
    if run.woken is not None or not run.queued:
        return None
    return next((j for j, each in enumerate(done)
                 if each.context == run.queued[0] and each.start <= (run.posted or 0) <= each.end), None)


def outermost(run: Run) -> list[str]:
    """The outermost functions that a run calls."""
    least = min((depth for depth, _ in run.calls), default=0)
    return [name for depth, name in run.calls if depth == least]


def main_call(run: Run) -> str:
    """What a run's bar is called: where it goes on, or the outermost function with most calls in it."""
    sizes: dict[str, int] = {}
    least, name = min((depth for depth, _ in run.calls), default=0), ""
    for depth, function in run.calls:
        name = function if depth == least else name
        sizes[name] = sizes.get(name, 0) + 1
    return run.woken or max(sizes, key=lambda each: sizes[each], default=run.did)
