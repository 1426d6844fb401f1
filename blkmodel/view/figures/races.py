"""Two CPUs that meet, step by step: what each has done, what is in memory, what only its CPU knows, and what is wrong.

    live(race, order=Choice(ORDERS), step=Steps(last_step))
    live(race_by_hand, order=Choice(ORDERS), run=Text())
"""

from html import escape

from blkmodel.reference.source import definitions
from blkmodel.view.draw import kernel_url, panel
from blkmodel.view.facts.races import PLACES, Place, World, beginning, complaint, moves, walk

ORDERS = {f"{where}: {order}": f"{where}: {order}" for where, place in PLACES.items() for order in place.orders}
_FIRST = "the last tag: without the waker's barrier"


def last_step(order: str = _FIRST) -> int:
    """How many steps the run has that goes wrong; or, where none does, one of the longest."""
    return len(walk(*order.split(": ", 1)).run)


def race(order: str = _FIRST, step: int = 0) -> str:
    """Draw the run of an order that goes wrong, after so many of its steps; a run to the end, where none goes wrong."""
    return _drawn(order, walk(*order.split(": ", 1)).run[:step])


def race_by_hand(order: str = _FIRST, run: str = "") -> str:
    """Draw two CPUs after the steps of `run`: a letter for the next step of each; a small one lets its oldest write
    arrive. It ends before the first letter that cannot be."""
    where, how = order.split(": ", 1)
    worlds = _worlds(where, how, run)
    done = run[:len(worlds) - 1]
    going = {(f"{each.upper()}'s write arrives" if each.islower() else f"{each} goes on"): done + each
             for each in moves(PLACES[where], how, worlds[-1])}
    buttons = "".join(f'<button type="button" data-key="{name}" data-set="run={to}">{name}</button>'
                      for name, to in {"Back": done[:-1], **going}.items())
    return _drawn(order, done, f'<div class="blk-moves">{buttons}</div><p class="dim">The run: {done or "nothing"}</p>')


def _worlds(where: str, how: str, run: str) -> list[World]:
    """The states that a run goes through, as far as it can."""
    worlds = [beginning(PLACES[where])]
    for letter in run:
        following = moves(PLACES[where], how, worlds[-1])
        if letter not in following:
            break
        worlds.append(following[letter])
    return worlds


def _drawn(order: str, run: str, buttons: str = "") -> str:
    where, how = order.split(": ", 1)
    place, worlds, found = PLACES[where], _worlds(where, how, run), walk(where, how)
    world, before = worlds[-1], dict(worlds[max(len(run) - 1, 0)].memory)
    wrong, said = complaint(place, how, world), "Nothing has happened yet."
    if run:
        cpu = [*place.cpus].index(run[-1].upper())
        names = place.program(how, run[-1].upper())
        said = wrong or f"{run[-1].upper()}: " + ("a write arrives" if run[-1].islower()
                                                  else place.steps[names[worlds[-2].at[cpu]]].said)
    whole = f"{found.states} states can be reached; {'some are wrong' if found.complaint else 'all are right'}."
    columns = "".join(f'<div><h4>{letter}: {who}</h4><ol class="blk-doings">{_steps(place, how, letter, at)}</ol></div>'
                      for (letter, who), at in zip(place.cpus.items(), world.at, strict=True))
    held = [(name, value, "failed" * (value != before[name])) for name, value in world.memory]
    held += [(f"{name}, as only {letter} sees it", value, "new")
             for letter, buffer in zip(place.cpus, world.buffers, strict=True) for name, value in buffer]
    rows = "".join(f'<li class="{mark}"><span>{name}</span><b>{value}</b></li>' for name, value, mark in held)
    return panel("blk-break blk-race", f"{order}, after {run or 'no step'}: {said} {whole} "
                 + "; ".join(f"{name}: {value}" for name, value, _ in held), "unwinding break_controller stepper races",
                 f'<p class="says{" bad" * bool(wrong)}">{said}</p><p class="dim">{whole}</p>', buttons,
                 f'<div class="two">{columns}</div><h4>Memory</h4><ol class="blk-doings">{rows}</ol>')


def _steps(place: Place, how: str, letter: str, next_one: int) -> str:
    """The steps of a CPU, of which the next is marked."""
    rows = ""
    for at, step in enumerate(place.steps[name] for name in place.program(how, letter)):
        url = str(kernel_url(step.function, definitions()[step.function][0].file)).split("#")[0]
        rows += (f'<li class="{"new" * (at == next_one)}"><span>{escape(step.said)}</span>'
                 f'<a href="{url}#L{step.line}">{step.function}</a></li>')
    return rows
