"""A seed as a hash of what is drawn with it; without torch."""

import hashlib


def derive(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed that is a hash of its arguments."""
    key = "\0".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) >> 1
