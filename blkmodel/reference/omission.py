"""Why the model leaves out a function of the kernel. A mirror module's `OMITTED` maps each name to one of these."""

from enum import Enum


class Omission(Enum):
    """The reasons there are; the value is how a report words it."""

    STATISTICS = "statistics"
    INSPECTION = "inspection"
    OTHER_SUBSYSTEM = "another subsystem"
    HARDWARE = "hardware detail"
    NO_CHAPTER = "no recording, chapter, figure or exercise runs it"


def no_chapter(names: str) -> dict[str, Omission]:
    """Give each of the names (separated by white space) the reason NO_CHAPTER."""
    return dict.fromkeys(names.split(), Omission.NO_CHAPTER)
