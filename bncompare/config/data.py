"""The `data` section: what is trained on."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field

from bncompare.options import MAX_SCALE, Count, PositiveInt, Section, must_be, one_of

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_BYTES, INDEX_BYTES = 4, 8
TEACHER_PROBE = 10_000  # inputs on which the scale of a teacher is measured

Validation = Annotated[
    Literal["test"] | Count | Annotated[float, Field(gt=0, lt=1)],
    must_be("a fraction between 0 and 1, a number of examples, 0 for none, or test"),
]


class DataSection(Section):
    """What every dataset has."""

    enlarged_by: ClassVar[str] = ""
    """the setting that makes its inputs larger, for a model that can't take them"""

    validation: Validation = 0
    """held out of the training set: a fraction, a number of examples, 0 for none, or `test` to validate on the
    test set"""
    train_size: PositiveInt | None = None
    """how many of the remaining examples to train on; null = all"""

    @property
    def pool_size(self) -> int:
        """Examples before validation is held out."""
        raise NotImplementedError

    @property
    def test_size(self) -> int:
        """Examples in the test set."""
        raise NotImplementedError

    def small(self, num_examples: int) -> "DataSection":
        """Some that take no time and no download; `num_examples` are enough to train on."""
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        """Of memory that its examples take, and what is there while they are drawn."""
        raise NotImplementedError

    def draw(self, part: str, num_examples: int, seed: int) -> "tuple[Tensor, Tensor]":
        """Inputs (N, *input_shape) and targets of a part, `train` or `test`, of a dataset that is drawn."""
        raise NotImplementedError

    @property
    def validation_size(self) -> int:
        """Examples held out of the pool for validation."""
        if isinstance(self.validation, float):
            return round(self.pool_size * self.validation)
        return 0 if self.validation == "test" else self.validation

    @property
    def num_train(self) -> int:
        """Examples trained on."""
        available = self.pool_size - self.validation_size
        return available if self.train_size is None else self.train_size

    @property
    def has_validation(self) -> bool:
        """Whether there will be `val/…` metrics."""
        return self.validation == "test" or self.validation_size > 0


class RandomRegression(DataSection):
    """Standard normal inputs and a target that is noise, or a signal plus noise; drawn anew for each seed."""

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

    @property
    def is_classification(self) -> bool:
        """Whether there will be `…/accuracy` metrics."""
        return False


class Images(DataSection):
    """What every dataset of images has: one grey channel, ten classes."""

    scaling: Literal["none", "unit", "standardize"] = "unit"
    """pixel values: 0…255, 0…1, or mean 0 and standard deviation 1 over the training examples"""
    binarize: bool = False
    """set pixels of 128 and more to the largest value and the rest to 0, before scaling"""

    @property
    def side(self) -> int:
        """Pixels in a row of an image, and in a column."""
        raise NotImplementedError

    @property
    def num_bytes(self) -> int:
        """A byte a pixel, and once more while the files are read."""
        return 2 * (self.pool_size + self.test_size) * math.prod(self.input_shape)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width)"""
        return (1, self.side, self.side)

    @property
    def num_outputs(self) -> int:
        """One logit a class."""
        return 10

    @property
    def is_classification(self) -> bool:
        """Whether there will be `…/accuracy` metrics."""
        return True


class MNIST(Images):
    """28×28 grey images of ten classes: 60,000 to train on and 10,000 to test."""

    pool_size: ClassVar = 60_000
    test_size: ClassVar = 10_000
    side: ClassVar = 28

    name: Literal["mnist", "fashion_mnist"]
    """the dataset"""
    dir: str | None = None
    """folder with torchvision's layout (MNIST/raw/…); null = BNCOMPARE_DATA or a cache; --data-dir goes first"""

    def small(self, num_examples: int) -> DataSection:
        """Digits, of the same size."""
        return Digits(name="digits", resize=28, **self.model_dump(include={*Images.model_fields}))


class Digits(Images):
    """8×8 grey images of handwritten digits, 1,437 to train on and 360 to test: real, and in the package."""

    pool_size: ClassVar = 1_437
    test_size: ClassVar = 360  # 36 a class: what knows nothing is right in a tenth
    enlarged_by: ClassVar = "resize: 28"

    name: Literal["digits"]
    """the dataset"""
    resize: Literal[28] | None = None
    """enlarge the images, by bilinear interpolation, to the 28×28 pixels that lenet takes; null = 8×8"""

    @property
    def side(self) -> int:
        return self.resize or 8

    def small(self, num_examples: int) -> DataSection:
        """They are."""
        return self


Data = Annotated[RandomRegression | MNIST | Digits, one_of("name", RandomRegression, MNIST, Digits)]
