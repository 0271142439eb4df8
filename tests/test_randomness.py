"""Randomness as a function: every argument counts, and nothing else does."""

import hashlib
import itertools

import torch
from kit import run_of

from bncompare.derive import derive
from bncompare.randomness import generator
from bncompare.training import build_model


def test_every_argument_counts() -> None:
    """Seeds, purposes and counters, and how they are divided, each lead to numbers of their own."""
    calls = [(0, "order"), (1, "order"), (10, "order"), (0, "data"), (0, "order1"), (0, "order 1")]
    calls += [(0, "order", *counters) for counters in ((0,), (1,), (10,), (1, 0), (0, 1))]
    for one, other in itertools.combinations(calls, 2):
        assert derive(*one) != derive(*other), (one, other)
        drawn = [torch.randn(1000, generator=generator(*of)) for of in (one, other)]
        assert abs(torch.corrcoef(torch.stack(drawn))[0, 1]) < 0.2, (one, other)


def test_the_function_stays() -> None:
    """Another one would be another result of every run that was ever made."""
    digest = hashlib.blake2b(b"0\0order\0007", digest_size=8).digest()
    assert derive(0, "order", 7) == int.from_bytes(digest) >> 1 == 6509928795182814173


def test_layers_of_one_shape_have_weights_of_their_own() -> None:
    """The initial weights of a layer depend on its name: two alike are not the same."""
    run = run_of("smoke.yaml", "model={name: mlp, hidden: [16, 16, 16]}", norm="none")
    weights = [value.flatten() for name, value in build_model(run).named_parameters() if value.shape == (16, 16)]
    assert len(weights) == 2
    assert abs(torch.corrcoef(torch.stack(weights))[0, 1]) < 0.25
