"""Holding dmsetup in the model against a recorded session of it (`blkmodel-dmsetup/1`), step by step.

Of each step the exit status, what was printed and, where it failed, the ioctl, the error and the kernel's log must be
the same. Blanks and line ends in what was printed count as one blank. Of `targets`, which shows all that the recorded
kernel had, the model need have only what it has, in that order.
"""

from blkmodel.capture.reference import boot_reference
from blkmodel.scenario import dm_load, dmsetup_run, run_step
from blkmodel.sim import this
from blkmodel.userland.libdm import strerror

CPUS = 4


def compare(document):
    """Do the steps of a recording, as read, in a kernel of their own. Returns a list of differences for each step."""
    boot_reference(document.get("cpus", CPUS))
    for path, device in document["devices"].items():
        controller = path.removeprefix("/dev/").removesuffix("n1")
        run_step(["nvme.probe", {"device": controller, "sectors": device["sectors"]}])
    dm_load()
    return [_step(step) for step in document["session"]]


def describe(step):
    """A step's command, as it was typed."""
    return " ".join(["dmsetup", *(f"'{word}'" if " " in word else word for word in _words(step))])


def _words(step):
    words = [step["dmsetup"], *(step[key] for key in ("name", "new_name") if key in step)]
    if step.get("table") is not None:
        return [*words, "--table", step["table"]]
    return [*words, "--notable"] if step["dmsetup"] == "create" else words


def _step(step):
    before = len(this().log)
    done = dmsetup_run(*_words(step))
    found: list[str] = []
    _hold(found, "exit", step["exit"], done.exit)
    if step["exit"]:
        _hold(found, "the ioctl that failed", step.get("failed_ioctl"), done.ioctl)
        _hold(found, "the error", step.get("error"), strerror(done.errno) if done.errno else None)
        _hold(found, "the kernel's log", step.get("kernel_log", []), this().log[before:])
    theirs, ours = step.get("output", "").split(), done.output.split()
    if step["dmsetup"] == "targets":
        pairs = list(zip(ours[::2], ours[1::2], strict=True))
        theirs = [word for pair in zip(theirs[::2], theirs[1::2], strict=True) if pair in pairs for word in pair]
    _hold(found, "output", " ".join(theirs), " ".join(ours))
    return found


def _hold(found, what, recorded, model):
    if recorded != model:
        found.append(f"{what}: recorded {recorded!r}, the model has {model!r}")
