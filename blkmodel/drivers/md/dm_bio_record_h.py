"""What a bio was like before it went down, so that it can be sent again: only how much room that takes."""

from blkmodel.sim import Struct


class dm_bio_details(Struct, size=56):
    """What the layers below change in a bio. Who would keep it is left out, so it has no fields."""
