"""Seeds as people write them: `0-4`, `0,3,7-9`."""

import re
from collections.abc import Collection

MAX_SEEDS = 10_000


def seeds_in(text: str) -> list[int]:
    """The seeds that ranges and numbers name, in their order. Raises ValueError with what is wrong."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part.strip())
        if not match:
            raise ValueError("must be a range (0-4), a list (0,3,7-9) or a number of seeds (5)")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first or last - first >= MAX_SEEDS:
            raise ValueError(f"{part.strip()} is not a range of 1 to {MAX_SEEDS} seeds")
        seeds += range(first, last + 1)
    return seeds


def seed_ranges(seeds: Collection[int]) -> list[str]:
    """`0-3` and `7` for 0, 1, 2, 3 and 7."""
    found: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if found and seed == found[-1][-1] + 1:
            found[-1] = [found[-1][0], seed]
        else:
            found.append([seed])
    return ["-".join(map(str, ends)) for ends in found]
