"""Where bios spend their time, and what the kernel's counters say of it."""

import json

import pytest

from blkmodel import scenario
from blkmodel.cli.main import main
from blkmodel.scenario import run_workload
from blkmodel.sim import booted
from blkmodel.userland.fio.stages import COLUMNS, STAGES, iostat
from tests.userland.fio.disks import nvme

AIO = "ioengine=libaio\ndirect=1\n"


def stages(done, disk="nvme0n1"):
    """Microseconds of a bio in each stage."""
    return {stage: spent / done.bios[disk] / 1000 for stage, spent in zip(STAGES, done.spent[disk], strict=True)}


@pytest.mark.parametrize("jobs", [f"{AIO}iodepth=8\nrw=randread\n", "direct=1\nrw=randwrite\n",
                                  "direct=1\nrw=randrw\nnumjobs=12\n", f"{AIO}iodepth=32\nrw=randread\n"])
@pytest.mark.parametrize("scheduler", ["none", "mq-deadline", "kyber"])
def test_stages_are_all_of_the_time(jobs, scheduler):
    """But where io_submit() sleeps for want of a tag: then what has ended meanwhile is seen only after that."""
    with nvme(least=50_000, params={"io_queue_depth": 9}, pairs=1):
        scenario.set_scheduler("nvme0n1", scheduler)
        done = run_workload("nvme0n1", f"[a]\nsize=256k\n{jobs}")
        assert "seen" not in scenario.disk("nvme0n1").queue.mq_ops.queue_rq.__name__, "nothing is left of the watch"
    sides = [side for clone in done.clones for side in clone.sides]
    slat, clat = (sum(sum(getattr(side, name)) for side in sides) for name in ("slat", "clat"))
    assert done.bios["nvme0n1"] == sum(len(side.clat) for side in sides)
    if "=32" in jobs:
        assert slat > 50_000
        assert sum(done.spent["nvme0n1"]) < .9 * (slat + clat)
    else:
        assert sum(done.spent["nvme0n1"]) == pytest.approx(slat + clat, rel=.001)


def test_where_one_waits_depends_on_who_has_too_few():
    """Of 32 at once, a queue of 8 tags lets 24 wait: for a tag, or in a scheduler, which has tags of its own."""
    found = {}
    for scheduler in ("none", "mq-deadline"):
        with nvme(least=50_000, params={"io_queue_depth": 9}, pairs=1):
            scenario.set_scheduler("nvme0n1", scheduler)
            found[scheduler] = stages(run_workload(
                "nvme0n1", f"[a]\n{AIO}iodepth=16\nrw=randread\nsize=1m\nnumjobs=2\n"))
    assert found["none"]["in the scheduler"] == 0
    assert found["none"]["waiting for a tag"] > found["mq-deadline"]["waiting for a tag"]
    assert found["mq-deadline"]["in the scheduler"] > 10
    for each in found.values():
        assert each["in the device"] == pytest.approx(50, rel=.01)


def test_polling_and_interrupts_move_the_same_bytes():
    found, irqs = {}, []
    for hipri in (0, 1):
        with nvme(least=20_000, params={"poll_queues": 1}, pairs=5) as controller:
            done = run_workload("nvme0n1", f"[a]\nioengine=pvsync2\nhipri={hipri}\ndirect=1\nrw=randrw\nsize=256k\n")
            disk = controller.namespaces[1]
            found[hipri] = (disk.cached, disk.kept, [len(side.clat) for side in done.clones[0].sides], disk.writes)
            irqs.append(sum(sum(desc.kstat_irqs) for desc in scenario.irq_desc_tree().descs.values()))
    assert found[0] == found[1]
    assert sum(found[0][2]) == 64
    assert irqs[0] - irqs[1] == 64, "and who polls needs none"


def test_5_4_says_that_nothing_waits_where_nothing_takes_a_tick():
    """aqu-sz is made of whole ticks of 4 milliseconds: 32 I/Os are always at a fast disk, and it says 0."""
    said = {}
    for least in (100_000, 8_000_000):
        with nvme(least=least):
            done = run_workload("nvme0n1", f"[a]\n{AIO}rw=randread\niodepth=32\nsize=4m\n")
            said[least] = done.disks[0].columns
    assert (said[100_000]["aqu-sz"], said[100_000]["r_await"]) == (0, pytest.approx(.1, rel=.01))
    assert said[8_000_000]["aqu-sz"] == pytest.approx(32, rel=.03)


def test_5_4_says_that_a_disk_is_busy_that_has_one_read_a_tick():
    """A read of 20 microseconds every 4 milliseconds: it is busy for 1 in 200, and %util says 100."""
    with nvme(least=20_000):
        done = run_workload("nvme0n1", "[a]\ndirect=1\nrw=randread\nsize=1m\nrate_iops=250\n")
    assert done.disks[0].columns["%util"] == pytest.approx(100, abs=1)
    assert done.json["disk_util"][0]["util"] == done.disks[0].columns["%util"]


def test_columns_are_rates():
    """250 reads, of them 50 merged, and 10 writes, in 2 seconds."""
    columns = iostat([200, 50, 1600, 400, 10, 0, 160, 30, 0, 500, 800, 0, 0, 0, 0], 2_000_000_000)
    assert list(columns) == list(COLUMNS)
    assert columns == {"r/s": 100, "rkB/s": 400, "rrqm/s": 25, "%rrqm": 20, "r_await": 2, "rareq-sz": 4, "w/s": 5,
                       "wkB/s": 40, "wrqm/s": 0, "%wrqm": 0, "w_await": 3, "wareq-sz": 8, "aqu-sz": .4, "%util": 25}


def test_plugged_writes_are_merged():
    """Buffered writes go to the disk behind a plug: many pages, few requests."""
    with booted(2):
        scenario.null_blk_load(nr_devices=1, irqmode=2, completion_nsec=50_000)
        done = run_workload("nullb0", "[a]\nrw=write\nsize=256k\nfsync=64\n")
    assert done.disks[0].columns["wareq-sz"] > 4


# The command line


@pytest.fixture
def jobfile(tmp_path):
    file = tmp_path / "my.fio"
    file.write_text(f"[a]\n{AIO}rw=randread\nsize=128k\niodepth=4\n")
    return str(file)


def test_the_command(jobfile, capsys):
    assert main(["fio", "--disk", "nvme0n1", "--service", "least=50us", "--more", jobfile]) == 0
    text = capsys.readouterr().out
    assert "read: IOPS=80.0k" in text
    assert "in the device" in text
    assert "r_await" in text
    assert "50.00 usec" in text
    assert main(["fio", "--disk", "nvme1n1", "--output-format", "json", jobfile]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["jobs"][0]["read"]["iops"] == pytest.approx(40_000)
    assert said["disk_util"][0]["name"] == "nvme1n1"


@pytest.mark.parametrize(("words", "said"), [
    ((), "filename="), (("--disk", "sda"), "sda"), (("--disk", "nvme0n1", "--service", "slow"), "'slow'"),
    (("--disk", "nvme0n1", "--service", "like=/nowhere"), "read"), (("--session", "/nowhere"), "/nowhere")])
def test_the_command_says_what_it_cannot_do(jobfile, capsys, words, said):
    assert main(["fio", *words, jobfile]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1
