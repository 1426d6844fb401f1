"""Powers of two (include/linux/log2.h)."""



def is_power_of_2(number: int) -> bool:
    return number != 0 and number & (number - 1) == 0


def ilog2(number: int) -> int:
    return number.bit_length() - 1


def rounddown_pow_of_two(number: int) -> int:
    """The largest power of two that is no more."""
    return 1 << number.bit_length() - 1
