"""Kinds of characters (include/linux/ctype.h, lib/string.c)."""


SPACES = " \t\n\v\f\r\xa0"


def isspace(character: str) -> bool:
    return character in SPACES


def skip_spaces(text: str, at: int) -> int:
    """Where the first character from `at` on is that is no blank."""
    while at < len(text) and isspace(text[at]):
        at += 1
    return at
