"""What somebody gets who installs the package: the source distribution, the wheel, each command in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import tomllib
import zipfile

import pytest

from tests.tools.alone import ROOT, environment, source_distribution, wheel_of

pytestmark = pytest.mark.slow

COMMANDS = {
    "check": ["{recordings}/linux-5.4/calls/null_blk-set-up.json"],
    "map": ["--cpus", "8", "--nodes", "2", "--queues", "3"],
    "trace": ["null_blk.load", "submit_queues=3"],
    "dmsetup": ["--session", "my.json", "create", "lin0", "--table", "0 2048 linear /dev/nvme0n1 0"],
    "lvm": ["vgcreate", "vg0", "/dev/nvme0n1"],
    "session": ["my.json"],
    "dmesg": ["--session", "my.json"],
    "explain": ["my.json"],
    "capture": ["--release", "5.4.120"],
    "fio": ["job.fio"],
    "lsblk": ["--session", "my.json"],
    "iostat": ["-x", "nvme0n1"],
    "nvme": ["list"],
    "blktrace": ["nvme0n1", "io", "disk=nvme0n1", "op=read", "offset=0", "length=4096"],
    "sysfs": ["/sys/block/nvme0n1/queue"],
}
SAYS = {"check": "passed", "map": "hctx", "trace": "blk_mq_alloc_tag_set", "lvm": "successfully created",
        "session": "$ dmsetup create lin0", "dmesg": "nvme nvme0: pci function",
        "explain": "that the book knows", "capture": "blkmodel-capture/1", "fio": "IOPS=",
        "lsblk": "└─lin0", "iostat": "%util", "nvme": "QEMU NVMe Ctrl", "blktrace": "Q   R 0 + 8 [dio]",
        "sysfs": "/scheduler:[none]"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    place = tmp_path_factory.mktemp("built")
    source = source_distribution(place)
    return source, wheel_of(source, place)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder with the programs of an environment that has the wheel, and nothing that it does not ask for."""
    return environment(tmp_path_factory.mktemp("clean"), "--no-index", built[1]).parent


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    place = tmp_path_factory.mktemp("empty")
    (place / "job.fio").write_text("[reads]\nfilename=/dev/nvme0n1\nrw=read\nbs=4k\nsize=64k\n")
    return place


@pytest.fixture(scope="module")
def command(installed, empty):
    def call(*words, program="blkmodel"):
        bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run([installed / program, *words], cwd=empty, env=bare, capture_output=True, text=True)
    return call


def test_the_source_distribution_has_no_tests(built):
    """They could not run from it; the recordings among them are the package's."""
    with tarfile.open(built[0]) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert [name for name in names if re.match("(tests/(?!recordings)|book/|[.])..*", name)] == []
    recordings = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "recordings").rglob("*.json")}
    assert recordings <= set(names)
    assert {"LICENSE", "README.md", "pyproject.toml", "blkmodel/reference/functions.tsv"} <= set(names)


def test_the_wheel_has_all_of_the_package(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    kinds = {".py", ".css", ".json", ".tsv", ".typed"}
    ours = [path for path in (ROOT / "blkmodel").rglob("*") if path.suffix in kinds]
    assert ours
    assert {path.relative_to(ROOT).as_posix() for path in ours} - names == set()
    assert "blkmodel/recordings/linux-5.4/maps/c8smt.json" in names
    assert not [name for name in names if name.startswith(("tests", "book"))]


def test_the_environment_is_clean(command):
    listed = command("-m", "pip", "list", "--format=freeze", program="python").stdout
    assert set(re.findall("^(.*)==", listed, re.MULTILINE)) - {"pip", "setuptools"} == {"blkmodel"}


def test_every_command_is_tried(command):
    usage = command("--help").stdout
    assert set(re.findall(r"^    (\w+)  ", usage, re.MULTILINE)) == set(COMMANDS)


def test_each_command_runs_in_an_empty_folder(command, installed):
    recordings, = installed.parent.glob("lib/python*/site-packages/blkmodel/recordings")
    for name, words in COMMANDS.items():  # in this order: the session is begun by dmsetup
        done = command(name, *(word.format(recordings=recordings) for word in words))
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), f"{name}: {done.stderr}"
        assert SAYS.get(name, "") in done.stdout, name


def test_the_version_is_the_packages(command):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert command("--version").stdout == f"blkmodel {version}, a model of Linux v5.4.120\n"


def test_a_recording_that_is_not_there_fails_the_cell(command):
    cell = "from blkmodel.capture.recordings import recording; recording('nosuch.json')"
    lost = command("-c", cell, program="python")
    assert lost.returncode == 1
    assert "FileNotFoundError: no recording nosuch.json" in lost.stderr
