"""Holding dmsetup in the model against a recorded session of it (`blkmodel-dmsetup/1`), step by step.

Of each step the exit status and, where it failed, the ioctl, the error and the kernel's log must be the same. What a
step printed on both streams must be the same wherever it was recorded, and of one that succeeded nothing else may be
printed; blanks and line ends count as one blank. What the model says and a recording does not have is counted. Of
`targets`, which shows all that the recorded kernel had, the model need have only what it has, in that order.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from blkmodel.capture.files import printable
from blkmodel.capture.reference import as_recorded, boot_reference
from blkmodel.scenario import dm_load, dmsetup_run, run_step
from blkmodel.sim import this
from blkmodel.userland.libdm import strerror

CPUS = 4


def compare(document: dict[str, Any], chance: Counter[str]) -> Iterator[tuple[str, list[str]]]:
    """Do the steps of a recording, as read, in a kernel of their own. Yields what each step is, and its differences.

    chance: counts what may differ and does.
    """
    boot_reference(document.get("cpus", CPUS))
    for path, device in document["devices"].items():
        controller = path.removeprefix("/dev/").removesuffix("n1")
        run_step(as_recorded(["nvme.probe", {"device": controller, "sectors": device["sectors"]}]))
    dm_load()
    for number, step in enumerate(document["session"], 1):
        yield f"step {number}, {describe(step)}", _step(step, chance)


def describe(step: dict[str, Any]) -> str:
    """A step's command, as it was typed."""
    return printable(" ".join(["dmsetup", *(f"'{word}'" if " " in word else word for word in _words(step))]), keep="")


def _words(step: dict[str, Any]) -> list[str]:
    words = [step["dmsetup"], *(step[key] for key in ("name", "new_name") if key in step)]
    if step.get("table") is not None:
        return [*words, "--table", step["table"]]
    return [*words, "--notable"] if step["dmsetup"] == "create" else words


def _step(step: dict[str, Any], chance: Counter[str]) -> list[str]:
    before = len(this().log)
    done = dmsetup_run(*_words(step))
    log = this().log[before:]
    found: dict[str, tuple[Any, Any]] = {"exit": (step["exit"], done.exit)}  # what → (recorded, the model's)
    if step["exit"]:
        found["the ioctl that failed"] = step.get("failed_ioctl"), done.ioctl
        found["the error"] = step.get("error"), strerror(done.errno) if done.errno else None
    if step["exit"] or "kernel_log" in step:
        found["the kernel's log"] = step.get("kernel_log", []), log
    else:
        chance["lines of the kernel's log that the recording does not have"] += len(log)
    printed = [*done.output.split(), *" ".join(done.errors).split()]
    theirs, ours = step.get("output", "").split(), printed if "output" in step else done.output.split()
    if "output" not in step:
        chance["words on standard error that the recording does not have"] += len(printed) - len(ours)
    if step["dmsetup"] == "targets":
        pairs = list(zip(ours[::2], ours[1::2], strict=False))
        shared = [word for pair in zip(theirs[::2], theirs[1::2], strict=False) if pair in pairs for word in pair]
        chance["types of targets that only the recorded kernel has"] += (len(theirs) - len(shared)) // 2
        theirs = shared
    found["output"] = " ".join(theirs), " ".join(ours)
    return [f"{what}: recorded {their!r}, the model has {our!r}" for what, (their, our) in found.items()
            if their != our]
