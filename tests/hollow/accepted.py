"""Functions that can be hollowed out unnoticed, and why that is right."""

ACCEPTED: dict[str, str] = {
    "list_versions": "it returns what __list_versions() does: always 0, as it names no type that could be missing",
}
