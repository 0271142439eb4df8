"""Randomness as a function: the numbers drawn for a purpose never depend on what was drawn before."""

import torch
from torch import nn

from bncompare.derive import derive


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator for one purpose, such as the initial values of `hidden.0.linear.weight`."""
    return torch.Generator().manual_seed(derive(seed, purpose, *counters))


class StepRandomness(nn.Module):
    """A layer that draws random numbers in training: a function of the seed, its name and the step."""

    generator: torch.Generator | None = None

    def reseed(self, seed: int, name: str, step: int, device: torch.device) -> None:
        """Choose what is drawn in one step; call before its forward pass."""
        if self.generator is None or self.generator.device != device:
            self.generator = torch.Generator(device)
        self.generator.manual_seed(derive(seed, f"draw {name}", step))
