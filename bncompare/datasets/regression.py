"""Random regression: inputs and targets that are drawn anew for each seed."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from bncompare.datasets.base import FLOAT_BYTES, INDEX_BYTES, DataSection
from bncompare.options import MAX_SCALE

if TYPE_CHECKING:
    from torch import Tensor

TEACHER_PROBE = 10_000  # inputs on which the scale of a teacher is measured


class RandomRegression(DataSection):
    """Standard normal inputs and a target that is noise, or a signal plus noise; drawn anew for each seed."""

    title: ClassVar = "random regression"
    without_test: ClassVar = "test_samples is 0: there is no test set"

    name: Literal["random_regression"]
    """the dataset"""
    samples: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """examples to draw for training and validation"""
    test_samples: Annotated[int, Field(ge=0, le=10_000_000)] = 1000
    """further examples to draw as the test set; 0 = none"""
    features: Annotated[int, Field(ge=1, le=100_000)] = 10
    """inputs per example"""
    signal: Literal["none", "linear", "teacher"] = "none"
    """what the target holds beside noise: nothing, a linear function, or a tanh network of `teacher_hidden` units;
    either has variance 1"""
    teacher_hidden: Annotated[int, Field(ge=1, le=100_000)] = 50
    """hidden units of the teacher network"""
    noise: Annotated[float, Field(ge=0, le=MAX_SCALE)] = 1.0
    """standard deviation of the noise in the target"""
    targets: Annotated[int, Field(ge=1, le=100_000)] = 1
    """outputs per example, each with a signal and noise of its own; the squared error is their mean"""

    @property
    def pool_size(self) -> int:
        return self.samples

    @property
    def test_size(self) -> int:
        return self.test_samples

    def small(self, num_examples: int) -> Self:
        """Fewer: half of them may be held out."""
        samples, test_samples = min(self.samples, 2 * num_examples), min(self.test_samples, num_examples)
        return self.model_copy(update={"samples": samples, "test_samples": test_samples})

    def draw(self, part: str, num_examples: int, seed: int) -> "tuple[Tensor, Tensor]":
        """X ~ N(0, 1), (N, features); y = signal(X) + noise·N(0, 1), (N, targets), where the signal is 0 or has
        variance 1."""
        import torch

        from bncompare.randomness import generator

        inputs = torch.randn(num_examples, self.features, generator=generator(seed, f"data {part} inputs"))
        noise = torch.randn(num_examples, self.targets, generator=generator(seed, f"data {part} noise"))
        return inputs, self._signal(inputs, seed) + self.noise * noise

    def _signal(self, inputs: "Tensor", seed: int) -> "Tensor":
        """(N, targets) from (N, features), each with mean 0 and variance 1 over standard normal inputs."""
        import torch

        from bncompare.randomness import generator

        if self.signal == "none":
            return torch.zeros(len(inputs), self.targets)
        random = generator(seed, "data teacher")
        if self.signal == "linear":
            weight = torch.randn(self.features, self.targets, generator=random)
            return inputs @ (weight / weight.square().sum(0).sqrt())
        hidden = torch.randn(self.features, self.teacher_hidden, generator=random) / self.features**0.5
        output = torch.randn(self.teacher_hidden, self.targets, generator=random)

        def teacher(x: "Tensor") -> "Tensor":
            return torch.tanh(x @ hidden) @ output

        # Its scale has no closed form: measured on inputs of its own, so that it is the same for every sample size.
        # tanh is odd, so the mean is 0.
        probe = torch.randn(TEACHER_PROBE, self.features, generator=generator(seed, "data teacher scale"))
        return teacher(inputs) / teacher(probe).square().mean(0).sqrt()

    @property
    def num_bytes(self) -> int:
        """Floats, and the indices of the examples."""
        features, targets, hidden = self.features, self.targets, self.teacher_hidden
        n, largest = self.samples + self.test_samples, max(self.samples, self.test_samples)
        kept = n * (features + targets)
        drawn = largest * 4 * targets  # noise, scaled noise, the signal, and that over its scale
        if self.signal == "linear":
            drawn += 3 * features * targets
        elif self.signal == "teacher":
            inputs = TEACHER_PROBE * features
            drawn += inputs + 2 * features * hidden + hidden * targets + 2 * max(largest, TEACHER_PROBE) * hidden
            drawn += 2 * TEACHER_PROBE * targets
        return FLOAT_BYTES * (kept + drawn) + INDEX_BYTES * 3 * n

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(features,)"""
        return (self.features,)

    @property
    def num_outputs(self) -> int:
        """One real number a target."""
        return self.targets
