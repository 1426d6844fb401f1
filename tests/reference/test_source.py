"""What the lists of the kernel's functions say."""

from blkmodel.reference.source import was_built


def test_what_the_recorded_kernel_was_built_with():
    for file in ("drivers/md/dm-mpath.c", "drivers/md/dm-round-robin.c", "drivers/md/dm-zero.c"):
        assert was_built(file), file
    assert not was_built("drivers/md/dm-service-time.c")
    assert not was_built("drivers/md/no-such-file.c")
