"""What the firmware says of the computer. The model's is a virtual machine, which is on nobody's list
(drivers/firmware/dmi_scan.c)."""

from blkmodel.sim import statics

DMI_SYS_VENDOR, DMI_PRODUCT_NAME, DMI_BOARD_VENDOR, DMI_BOARD_NAME = 4, 5, 9, 10


@statics
class dmi_ident:
    """Field → text."""

    def __init__(self) -> None:
        self.texts = {DMI_SYS_VENDOR: "QEMU", DMI_PRODUCT_NAME: "Standard PC (Q35 + ICH9, 2009)"}


def dmi_match(field: int, text: str) -> bool:
    """Whether the firmware says exactly that."""
    return dmi_ident().texts.get(field) == text
