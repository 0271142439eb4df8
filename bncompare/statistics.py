"""Numbers about runs: plain arrays in, plain numbers out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # scipy.stats would cost a second to import


@dataclass(frozen=True)
class Summary:
    """A metric over n seeds."""

    n: int
    mean: float
    sd: float
    """sample standard deviation (n − 1); NaN for n = 1"""
    low: float
    high: float
    """95 % t-interval of the mean; NaN for n = 1"""


def summarize(values: Sequence[float], confidence: float = 0.95) -> Summary:
    """Mean, standard deviation and Student's t-interval: mean ± t(n−1)·sd/√n. Raises ValueError for no values."""
    n = len(values)
    if n == 0:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if n == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    sd = float(array.std(ddof=1))
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)
