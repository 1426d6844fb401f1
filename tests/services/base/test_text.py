"""Small arithmetic, numbers in texts, what may be printed in floods."""

import pytest

from blkmodel import boot, scenario
from blkmodel.errors import KernelError
from blkmodel.services.base.err import EINVAL, ERANGE
from blkmodel.services.base.text import kstrtobool, kstrtoint, kstrtouint, kstrtoul, sscanf


@pytest.mark.parametrize(("text", "form", "values"), [
    ("12", "%u%c", [12]),
    ("12x", "%u%c", [12, "x"]),
    ("3 ", "%u%c", [3, " "]),
    (" 7", "%u%c", [7]),
    ("", "%u%c", []),
    ("+7", "%u%c", []),
    ("-7", "%u%c", []),
    ("0x10", "%u%c", [0, "x"]),
    ("4294967297", "%u%c", [1]),
    ("4294967297", "%llu%c", [4294967297]),
    ("18446744073709551617", "%llu%c", [1]),
    ("2147483648", "%d", [-2147483648]),
    ("-5", "%d", [-5]),
    ("259:0", "%u:%u%c", [259, 0]),
    ("259-0", "%u:%u%c", [259]),
    ("1  2 3 4", "%lu %lu %lu %lu%c", [1, 2, 3, 4]),
    ("٣", "%u", []),
    ("\x1c7", "%u", []),
    ("\u20037", "%u", []),
    ("\xa0\v\f7", "%u", [7]),
    ("1 \r\n2", "%lu %lu", [1, 2]),
])
def test_sscanf(text, form, values):
    assert sscanf(text, form) == values


@pytest.mark.parametrize(("read", "text", "base", "says"), [
    (kstrtoul, "12\n", 10, (0, 12)), (kstrtoul, "+12", 10, (0, 12)), (kstrtoul, "12\n\n", 10, (-EINVAL, None)),
    (kstrtoul, " 12", 10, (-EINVAL, None)), (kstrtoul, "-1", 10, (-EINVAL, None)),
    (kstrtoul, "\n", 10, (-EINVAL, None)),
    (kstrtoul, "18446744073709551616x", 10, (-ERANGE, None)), (kstrtouint, "4294967296", 10, (-ERANGE, None)),
    (kstrtouint, "4294967296x", 10, (-EINVAL, None)), (kstrtouint, "0x1F", 0, (0, 31)), (kstrtouint, "017", 0, (0, 15)),
    (kstrtouint, "0x", 0, (-EINVAL, None)), (kstrtouint, "08", 0, (-EINVAL, None)), (kstrtoint, "-2147483648", 10,
                                                                                  (0, -2147483648)),
    (kstrtoint, "-2147483649", 10, (-ERANGE, None)), (kstrtoint, "-+5", 10, (-EINVAL, None)),
    (kstrtouint, "\u0663", 10, (-EINVAL, None))])
def test_numbers(read, text, base, says):
    assert read(text, base) == says


@pytest.mark.parametrize(("text", "says"), [("Y", True), ("1x", True), ("oN", True), ("n", False), ("off", False),
                                            ("of", False), ("o", None), ("", None), ("True", None)])
def test_truth(text, says):
    assert kstrtobool(text) == ((0, says) if says is not None else (-EINVAL, None))


def test_a_parameter_that_nothing_looks_at():
    """use_blk_mq is checked, and kept for nobody."""
    boot(1)
    with pytest.raises(KernelError, match="EINVAL") as refused:
        scenario.dm_load(use_blk_mq="maybe")
    assert "dm_mod: `maybe' invalid for parameter `use_blk_mq'" in str(refused.value)
    scenario.dm_load(use_blk_mq=True)


def test_a_timeout_that_does_not_fit():
    """4294967295 seconds are 2 ** 32 - 250 ticks of 32 bits, and their milliseconds are of 32 bits too."""
    boot(4)
    scenario.nvme_probe(io_timeout=4294967295)
    assert scenario.queue_file("nvme0n1", "io_timeout") == "4294966296"
    assert scenario.disk("nvme0n1").queue.tag_set.timeout == (1 << 32) - 250


def test_each_parameter_that_is_refused_says_so():
    """All are looked at, and the last that is refused says why the module is not loaded."""
    boot(1)
    with pytest.raises(KernelError, match="ERANGE") as refused:
        scenario.null_blk_load(gb="x", bs=1024, blocking="", nr_devices=4294967296)
    assert [line.strip() for line in str(refused.value).splitlines()[1:]] == [
        f"null_blk: `{text}' invalid for parameter `{name}'"
        for name, text in (("gb", "x"), ("blocking", ""), ("nr_devices", "4294967296"))]
    scenario.null_blk_load()
    assert scenario.queue_file("nullb0", "logical_block_size") == "512"


def test_a_block_size_is_unsigned_once_it_is_a_devices():
    boot(1)
    scenario.null_blk_load(bs=-1)
    assert scenario.queue_file("nullb0", "logical_block_size") == "4096"


def test_an_admin_commands_jiffies_are_of_32_bits():
    boot(1)
    scenario.nvme_probe(admin_timeout=17179870)
    assert scenario.nvme_controller("nvme0").ctrl.admin_q.rq_timeout == 17179870 * 250 - (1 << 32) == 204
