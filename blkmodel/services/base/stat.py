"""Kinds of files."""

S_IFBLK, S_IFCHR, S_IFMT = 0o060000, 0o020000, 0o170000
