"""Functions that can be hollowed out unnoticed, and why that is right."""

ACCEPTED: dict[str, str] = {}
