"""Why a mirror module leaves out a call that the kernel makes. A module's `OMITTED` maps a name to one of these."""

from enum import Enum


class Omission(Enum):
    """The reasons there are; the value is how a report words it."""

    STATISTICS = "statistics"
    LOCKING = "locking that one thread cannot show"
    INSPECTION = "inspection"
    OTHER_SUBSYSTEM = "another subsystem"
    HARDWARE = "hardware detail"
