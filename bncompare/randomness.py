"""Randomness as a function: the numbers drawn for a purpose never depend on what was drawn before."""

import hashlib

import torch


def derive(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed that is a hash of its arguments."""
    key = "\0".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator for one purpose, such as the initial values of `hidden.0.linear.weight`."""
    return torch.Generator().manual_seed(derive(seed, purpose, *counters))
