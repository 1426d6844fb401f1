"""Small arithmetic."""


def min_not_zero(a, b):
    """The smaller of two numbers of which 0 stands for none."""
    return min(a, b) if a and b else a or b


def round_down(number, multiple):
    return number - number % multiple


def round_up(number, multiple):
    return -(-number // multiple) * multiple
