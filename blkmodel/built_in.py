"""What the kernel image holds: the files with something to do at boot, which is why every import brings them."""
