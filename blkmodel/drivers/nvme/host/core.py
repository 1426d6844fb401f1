"""NVMe, whatever the transport: admin commands and their answers.

So far a controller is only a number of queues, and executes an admin command at once.
"""

from blkmodel.drivers.nvme.host.nvme_h import NVME_QID_ANY
from blkmodel.include.linux import nvme
from blkmodel.include.linux.device import dev_err
from blkmodel.include.linux.nvme import NVME_FEAT_NUM_QUEUES, nvme_admin_set_features, nvme_command
from blkmodel.sim import statics


@statics
class variables:
    """The module's parameters: timeouts in seconds."""

    def __init__(self):
        self.nvme_io_timeout = 30
        self.admin_timeout = 60


def __nvme_submit_sync_cmd(q, cmd, buffer, bufflen, timeout, qid, at_head, flags, poll):
    """Let the controller execute a command, and wait.

    Returns its status (0, or an NVMe status above 0) or -errno, and its result.
    """
    return q.execute(cmd)


def nvme_submit_sync_cmd(q, cmd, buffer, bufflen):
    """Let the controller execute a command, and wait. Returns its status (0, or an NVMe status above 0) or -errno."""
    return __nvme_submit_sync_cmd(q, cmd, buffer, bufflen, 0, NVME_QID_ANY, 0, 0, False)[0]


def nvme_features(dev, op, fid, dword11, buffer, buflen):
    """Set or get a feature. Returns the status and the result."""
    c = nvme_command(nvme.nvme_features(opcode=op, fid=fid, dword11=dword11))
    return __nvme_submit_sync_cmd(dev.admin_q, c, buffer, buflen, 0, NVME_QID_ANY, 0, 0, False)


def nvme_set_features(dev, fid, dword11, buffer, buflen):
    """Set a feature. Returns the status and the result."""
    return nvme_features(dev, nvme_admin_set_features, fid, dword11, buffer, buflen)


def nvme_set_queue_count(ctrl, count):
    """Ask the controller for `count` I/O queue pairs. Returns 0 or -errno, and how many to use.

    A controller that refuses to say gets no I/O queues, but stays, so that it can be repaired.
    """
    q_count = count - 1 | count - 1 << 16
    status, result = nvme_set_features(ctrl, NVME_FEAT_NUM_QUEUES, q_count, None, 0)
    if status < 0:
        return status, count
    if status > 0:
        dev_err(ctrl.device, f"Could not set queue count ({status})")
        return 0, 0
    return 0, min(count, min(result & 0xFFFF, result >> 16) + 1)
