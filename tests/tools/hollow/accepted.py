"""Functions that can be hollowed out unnoticed, and why that is right."""

ACCEPTED: dict[str, str] = {
    "__blk_mq_delay_run_hw_queue": "only put_cpu() is dropped, and the model never moves a running task",
    "blkdev_readpages": "it returns what mpage_readpages() does: always 0",
    "list_versions": "it returns what __list_versions() does: always 0, as it names no type that could be missing",
    "nvme_configure_apst": "what it would do is left out; it returns 0",
    "nvme_configure_directives": "what it would do is left out; it returns 0",
    "nvme_setup_streams_ns": "what it would do is left out; it returns 0",
    "null_cmd_timer_expired": "it returns HRTIMER_NORESTART, which is the neutral 0; there is nothing else in it",
}
