"""Exercises that are drawn from a seed, and that the model itself checks."""

import random
from collections.abc import Callable

from blkmodel.sim import booted, machine
from blkmodel.view.draw import plain
from blkmodel.view.figures.machine_to_queues import queue_of
from blkmodel.view.figures.queue_map import queue_map


def which_queue(number: int = 1, answer: str = "") -> str:
    """Ask which hardware queue of null_blk a CPU uses; say whether the answer is right, and then show the map.

    number: which exercise it is; each has a machine of its own. answer: what the reader typed, or nothing yet.
    """
    draw = random.Random(number)
    threads = draw.choice((1, 2))
    cpus = threads * draw.randint(3, 6)
    present = cpus - threads * draw.randint(0, 2)
    queues, cpu = draw.randint(2, cpus - 1), draw.randrange(cpus)
    asked = (f"A machine can have {cpus} CPUs; CPUs 0 to {present - 1} are present"
             + (f", {threads} threads to a core" if threads > 1 else "")
             + f". <code>null_blk</code> has {queues} queues. Which one does CPU {cpu} use?")

    def check() -> tuple[str, str]:
        typed = number_in(answer, f"queue: type a number from 0 to {queues - 1}")
        with booted(machine(cpus, threads=threads, present=present)) as kernel:
            q = queue_of("null_blk", queues)
            right = q.queue_ctx[cpu].hctxs[0].queue_num
            return verdict(typed, right, f"CPU {cpu} uses queue {right}"), queue_map(q, kernel, cpu)
    return exercise(asked, answer, check)


def number_in(answer: str, otherwise: str, least: int = 0) -> int:
    """The number that a reader typed; a ValueError says what would be one."""
    try:
        typed = int(answer)
    except ValueError:
        typed = least - 1
    if typed < least:
        raise ValueError(f"{answer.strip()!r} is no {otherwise}")
    return typed


def exercise(asked: str, answer: str, check: Callable[[], tuple[str, str]], figure: str = "") -> str:
    """What is asked; once there is an answer, what check() says of it, and the figure that it has then."""
    said, figure = check() if answer.strip() else ("", figure)
    return plain(f"<p>{asked}</p>{said}") + figure


def verdict(typed: int | str, right: int | str, why: str) -> str:
    """Whether an answer is right, and what is."""
    return f"<p><strong>{'Right' if typed == right else f'Not {typed}'}: {why}.</strong></p>"
