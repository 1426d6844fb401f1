"""What becomes of a number that is put where C has fewer bits for it, or no sign."""



def signed_int(number: int) -> int:
    return (number + (1 << 31) & 0xFFFFFFFF) - (1 << 31)


def unsigned_int(number: int) -> int:
    return number & 0xFFFFFFFF


def unsigned_long(number: int) -> int:
    return number & 0xFFFFFFFFFFFFFFFF
