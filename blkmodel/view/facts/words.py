"""Numbers as words."""


def many(count: int, what: str) -> str:
    """So many of something: "1 read", "2 reads"."""
    return f"{count} {what}{'s' * (count != 1)}"
