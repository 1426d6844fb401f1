"""NVMe controllers to the host: what drivers/nvme/host/nvme.h declares."""

from typing import Any

from blkmodel.sim.structure import Struct, struct

(NVME_QUIRK_STRIPE_SIZE, NVME_QUIRK_IDENTIFY_CNS, NVME_QUIRK_DEALLOCATE_ZEROES, NVME_QUIRK_DELAY_BEFORE_CHK_RDY,
 NVME_QUIRK_NO_APST, NVME_QUIRK_NO_DEEPEST_PS, NVME_QUIRK_LIGHTNVM, NVME_QUIRK_MEDIUM_PRIO_SQ,
 NVME_QUIRK_IGNORE_DEV_SUBNQN, NVME_QUIRK_DISABLE_WRITE_ZEROES, NVME_QUIRK_SIMPLE_SUSPEND, NVME_QUIRK_SINGLE_VECTOR,
 NVME_QUIRK_128_BYTES_SQES, NVME_QUIRK_SHARED_TAGS) = (1 << bit for bit in range(14))
NVME_QUIRK_NO_NS_DESC_LIST = 1 << 15

NVME_QID_ANY = -1


@struct
class nvme_request(Struct):
    """What the NVMe core keeps with each request: its command, the controller's answer, how often it was tried."""

    cmd: Any = None
    result: int = 0
    retries: int = 0
    flags: int = 0
    status: int = 0
    ctrl: Any = None


@struct
class nvme_ctrl(Struct):
    """A controller, however it is connected. queue_count: the queues that have memory, the admin queue included."""

    admin_q: Any = None
    instance: int = 0
    tagset: Any = None
    device: Any = None
    queue_count: int = 0
    cap: int = 0
    page_size: int = 0
    sqsize: int = 0
    quirks: int = 0


def nvme_req(req):
    """The NVMe core's part of a request: the first of what its driver keeps there."""
    return req._pdu.req
