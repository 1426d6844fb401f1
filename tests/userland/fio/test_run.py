"""What jobs do to disks, and when."""

from collections import Counter
from typing import Any

import pytest

from blkmodel import scenario
from blkmodel.include.linux.blkdev import READ, WRITE
from blkmodel.scenario import run_workload
from blkmodel.services.base.err import EINVAL
from blkmodel.sim import booted
from blkmodel.userland.fio import measured, service_of
from blkmodel.userland.fio.jobs import JobError, parse
from blkmodel.userland.fio.run import Clone, run
from tests.userland.fio.disks import nvme
from tests.userland.fio.test_report import REAL

AIO = "ioengine=libaio\ndirect=1\n"


def one(jobs, disk="nvme0n1", watch=False):
    """Run jobs of which there is one, or a group; what is said of it."""
    said, = run_workload(disk, jobs, watch).json["jobs"]
    return said


@pytest.fixture
def planned(monkeypatch):
    """All that clones do, in order: (READ, WRITE or 2, offset, length)."""
    seen, do = [], Clone._do

    def note(self, *io):
        seen.append(io)
        do(self, *io)
    monkeypatch.setattr(Clone, "_do", note)
    return seen


@pytest.mark.parametrize("engine", ["libaio", "psync", "sync", "pvsync2"])
def test_engines_move_all_bytes_once(engine, planned):
    with nvme(least=10_000) as controller:
        said = one(f"[a]\nioengine={engine}\niodepth=8\ndirect=1\nrw=randwrite\nsize=256k\noffset=64k\n")
    disk = controller.namespaces[1]
    assert sorted(planned) == [(WRITE, at, 4096) for at in range(64 << 10, 320 << 10, 4096)] != planned
    assert disk.writes == 64
    assert (said["write"]["io_bytes"], said["read"]["io_bytes"]) == (256 << 10, 0)
    written = {number for number, data in disk.cached.items() if any(data)}
    assert written == set(range(16, 80)), "each block is on the disk, and no other"
    assert said["write"]["clat_ns"]["mean"] == pytest.approx(10_000, rel=.01)
    assert said["iodepth_level"]["8"] == (12.5 if engine == "libaio" else 0), "of eight that begin together, one"


def test_places(planned):
    """In order, and around; at random each once, or as it comes."""
    with nvme(least=1000):
        one("[a]\nrw=read\ndirect=1\nsize=12k\nio_size=32k\n")
        in_order, planned[:] = [at for _, at, _ in planned], []
        one("[a]\nrw=randread\ndirect=1\nsize=256k\nio_size=512k\n")
        twice, planned[:] = [at for _, at, _ in planned], []
        one("[a]\nrw=randread\ndirect=1\nsize=256k\nio_size=512k\nnorandommap\n")
    assert in_order == [at * 4096 for at in (0, 1, 2, 0, 1, 2, 0, 1)]
    assert sorted(twice[:64]) == sorted(twice[64:]) == [at * 4096 for at in range(64)]
    assert twice[:64] != twice[64:]
    assert max(Counter(at for _, at, _ in planned).values()) > 2


def test_shares(planned):
    with nvme(least=1000):
        one(f"[a]\n{AIO}rw=randrw\nrwmixread=80\nbssplit=4k/75:16k/25\nsize=8m\niodepth=4\n")
    kinds = Counter(rw for rw, _, _ in planned)
    assert kinds[READ] / len(planned) == pytest.approx(.8, abs=.03)
    assert sum(length == 16384 for _, _, length in planned) / len(planned) == pytest.approx(.25, abs=.03)
    assert all(at % 4096 == 0 and at + length <= 8 << 20 for _, at, length in planned)


def test_a_seed_draws_the_same_again(planned):
    found = []
    for seed in (1, 1, 2):
        with nvme(least=1000):
            one(f"[a]\nrw=randrw\ndirect=1\nsize=64k\nrandseed={seed}\n")
        found.append(tuple(planned))
        planned.clear()
    assert found[0] == found[1] != found[2]


def test_fsync_comes_after_every_so_many_writes(planned):
    with nvme(least=10_000) as controller:
        said = one(f"[a]\n{AIO}rw=write\nsize=80k\nfsync=8\niodepth=16\n")
        assert not controller.namespaces[1].cached.keys() - {16, 17, 18, 19}, "a flush was done"
    assert [rw for rw, _, _ in planned] == [*[1] * 8, 2, *[1] * 8, 2, *[1] * 4]
    assert said["sync"]["total_ios"] == 2
    assert said["sync"]["lat_ns"]["mean"] == pytest.approx(10_000, rel=.05)
    assert said["iodepth_level"]["8"] == 100 * 2 / 20, "all that was begun ends before a flush"


@pytest.mark.parametrize(("rate", "wanted"), [("rate_iops=2000", 2000), ("rate=4m", 1024), ("rate_iops=,500", 500)])
def test_rates_are_kept(rate, wanted):
    with nvme(least=50_000):
        said = one(f"[a]\n{AIO}rw={'write' if ',' in rate else 'randread'}\nsize=4m\nio_size=1m\niodepth=8\n{rate}\n")
    side = said["write" if "," in rate else "read"]
    assert side["iops"] == pytest.approx(wanted, rel=.01)


def test_inline_waits_before_it_pauses_and_so_misses_who_waits():
    """What comes while fio waits comes late, and its waiting is not counted. With offload each begins at its time."""
    found = {}
    for mode in ("inline", "offload"):
        with nvme(least=100_000, apart=100_000):
            found[mode] = one(f"[a]\n{AIO}rw=randread\nsize=4m\niodepth=64\nrate_iops=7000\nio_submit_mode={mode}\n"
                              "rate_process=poisson\n")["read"]
    assert found["inline"]["iops"] == pytest.approx(found["offload"]["iops"], rel=.01)
    assert found["offload"]["lat_ns"]["mean"] > 1.3 * found["inline"]["lat_ns"]["mean"]


def test_offload_holds_back_what_is_more_than_iodepth():
    with nvme(least=1_000_000):
        said = one(f"[a]\n{AIO}rw=randread\nsize=256k\niodepth=4\nrate_iops=100000\nio_submit_mode=offload\n")
    assert said["read"]["iops"] == pytest.approx(4000, rel=.02)
    assert said["read"]["total_ios"] == 64
    assert said["iodepth_level"]["8"] == 0
    assert said["iodepth_level"]["4"] > 90


def test_poisson_gaps_are_exponential():
    with nvme(least=1000):
        clone = run_workload("nvme0n1", f"[a]\n{AIO}rw=randread\nsize=16m\nio_submit_mode=offload\niodepth=64\n"
                             "rate_iops=10000\nrate_process=poisson\n").clones[0]
    assert clone.end - clone.begin == pytest.approx(4096 / 10_000 * 1e9, rel=.05)


def test_time_is_up():
    with nvme(least=100_000):
        said = one(f"[a]\n{AIO}rw=randread\nsize=16k\nruntime=10ms\ntime_based\niodepth=2\n")
        short = one(f"[a]\n{AIO}rw=randread\nsize=16k\nruntime=10ms\niodepth=2\n")
        cut = one(f"[a]\n{AIO}rw=randread\nsize=64m\nruntime=10ms\niodepth=2\n")
    assert [each["read"]["total_ios"] for each in (said, short, cut)] == [200, 4, 200]
    assert said["job_runtime"] == 10


def test_jobs_run_beside_each_other_on_their_cpus():
    with nvme(least=100_000):
        groups = run(parse("[a]\nrw=read\ndirect=1\nsize=16k\nnumjobs=3\ncpus_allowed=1,3\n[b]\nrw=read\ndirect=1\n"
                           "size=8k\nstartdelay=1ms\n[c]\nstonewall\nrw=read\ndirect=1\nsize=4k\n"), "nvme0n1")
    (*a, b), (c,) = groups
    assert [each.cpu for each in a] == [1, 3, 1]
    assert all(each.end == 400_000 + a[0].begin for each in a)
    assert b.begin == a[0].begin + 1_000_000
    assert c.begin == b.end
    with nvme(), pytest.raises(JobError, match="cpus_allowed"):
        run_workload("nvme0n1", "[a]\ncpus_allowed=9\n")


def test_buffered_jobs_use_the_page_cache():
    """Reads of one page bring more; writes are there at once, and on the disk after fsync."""
    with nvme(least=100_000) as controller:
        first = one("[a]\nrw=read\nsize=512k\nbs=4k\n")
        assert first["read"]["total_ios"] == 128
        assert controller.namespaces[1].reads < 64
        one("[a]\nrw=write\nsize=64k\nfsync=16\n")
        assert all(any(controller.namespaces[1].read(at, 4096)) for at in range(0, 64 << 10, 4096))


def test_an_error_ends_the_job():
    with nvme(least=1000) as controller:
        controller.namespaces[1].bad_read = frozenset({80})
        said = one("[a]\nrw=read\ndirect=1\nsize=1m\n")
        assert (said["error"], said["read"]["total_ios"]) == (61, 10)  # ENODATA: a medium error
        assert "err=61 (ENODATA)" in run_workload("nvme0n1", "[a]\nrw=read\ndirect=1\nsize=1m\n").text()
    with booted(2):
        scenario.null_blk_load(nr_devices=1, bs=4096)
        assert one("[a]\nrw=read\ndirect=1\nbs=512\nsize=1m\n", "nullb0")["error"] == EINVAL


def test_jobs_on_any_disk():
    """A null_blk, a mapped device, a partition; with a scheduler, and behind request-based device mapper."""
    with nvme(least=10_000) as controller:
        scenario.set_scheduler("nvme0n1", "mq-deadline")
        scenario.partition("nvme0n1", "gpt", "2048+8192")
        scenario.dmsetup_run("create", "lin", "--table", "0 4096 linear /dev/nvme0n1p1 0")
        before = controller.namespaces[1].reads
        for disk in ("nvme0n1p1", "mapper/lin", "dm-0"):
            done = run_workload(None, f"[a]\nfilename=/dev/{disk}\n{AIO}rw=randread\nsize=64k\niodepth=4\n")
            assert (done.json["jobs"][0]["read"]["total_ios"], done.bios["nvme0n1"]) == (16, 16), disk
        assert controller.namespaces[1].reads == before + 48
        assert {each.name for each in done.disks} == {"nvme0n1", "dm-0"}
    with booted(2):
        scenario.null_blk_load(nr_devices=1, irqmode=2, completion_nsec=50_000)
        assert one(f"[a]\n{AIO}rw=randread\nsize=64k\niodepth=4\n", "nullb0")["read"]["lat_ns"]["mean"] == 50_000


def test_a_job_that_would_never_end_is_refused():
    with nvme(), pytest.raises(JobError, match="time_based"):
        run_workload("nvme0n1", "[a]\nrw=randread\ndirect=1\ntime_based\nsize=64k\n")


def test_what_does_not_fit_is_refused():
    with nvme(sectors=2048), pytest.raises(JobError, match="size=2097152"):
        run_workload("nvme0n1", "[a]\nsize=2m\n")


# How long a controller takes


def test_a_service_is_like_what_fio_measured():
    """Its completion latencies come back as the percentiles of a job with one I/O at a time."""
    quantiles = measured(REAL["json"])
    with nvme(quantiles=quantiles, seed=1):
        said = one("[a]\nrw=randread\ndirect=1\nsize=64m\nio_size=16m\n")["read"]["clat_ns"]
    theirs = REAL["json"]["jobs"][0]["read"]["clat_ns"]
    assert theirs["min"] <= said["min"]
    assert said["max"] <= theirs["max"]
    for rank in ("10.000000", "50.000000", "90.000000"):
        assert said["percentile"][rank] == pytest.approx(theirs["percentile"][rank], rel=.03)


def test_services_in_words():
    service = service_of("least=80us,extra=2ms,servers=3", lambda file: None, seed=4)
    assert (service.least, service.extra, service.servers, service.seed) == (80_000, 2_000_000, 3, 4)
    assert service_of("like=x", {"x": REAL["json"]}.get).quantiles == measured(REAL["json"])
    for text in ("most=1us", "least=fast", "servers=2us", "least"):
        with pytest.raises(ValueError, match="expected"):
            service_of(text, lambda file: None)
    others: list[Any] = [{}, [], {"jobs": [{}]}, None, {"jobs": [{"read": {"clat_ns": {"N": 0}}}]}]
    for other in others:
        with pytest.raises(ValueError, match="fio's JSON"):
            measured(other)


def test_servers_serve_so_many_at_once():
    with nvme(least=100_000, servers=2, in_order=False):
        said = one(f"[a]\n{AIO}rw=randread\nsize=256k\niodepth=8\n")["read"]
    assert said["iops"] == pytest.approx(20_000, rel=.01)
    assert said["lat_ns"]["mean"] == pytest.approx(400_000 - 100_000 * 3 * 2 / 16, rel=.08)
    assert said["lat_ns"]["min"] == 100_000
