"""What the real tools have, dmsetup 1.02.185 and LVM 2.03.16, as tools.tsv lists it; the model lacks some of it."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from blkmodel.errors import KernelError
from blkmodel.reference.source import rows
from blkmodel.sim import this


@cache
def known(what: str) -> dict[str, str]:
    """The names in a list of tools.tsv, in their order there, each with its letters ("": none)."""
    lists = dict(rows("tools.tsv", "userland"))
    return {name: letters for name, _, letters in (word.partition(",") for word in lists[what].split())}


def letters(what: str) -> dict[str, str]:
    """Letter → name, of the options in a list."""
    return {letter: name for name, all_letters in known(what).items() for letter in all_letters}


def output_of(words: Sequence[str], run: Callable[[], Any]) -> str:
    """What a command prints. KernelError where an ioctl failed; ValueError where it did not come to one."""
    before = len(this().log)
    done = run()
    errors = [line.strip() for line in done.errors]
    if done.errno:
        raise KernelError(-done.errno, " ".join(words), [*errors, *this().log[before:]])
    if done.exit:
        raise ValueError(" ".join(errors))
    return done.output
