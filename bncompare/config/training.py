"""The `training` section: how long, with which optimizer, when to stop."""

from typing import Annotated, Literal

from pydantic import Field

from bncompare.config.model import Probability
from bncompare.options import MAX_NUMBER, Count, NonNegative, Positive, PositiveInt, Section, must_be, shorthand

Metric = Literal["train/loss", "train/accuracy", "val/loss", "val/accuracy"]


def is_better_high(metric: str) -> bool:
    """Accuracy is better high, a loss low."""
    return metric.endswith("/accuracy")


class SGD(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    """the optimizer"""
    lr: Positive
    """learning rate"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """momentum"""
    nesterov: bool = False
    """Nesterov's momentum"""
    weight_decay: NonNegative = 0.0
    """L2 penalty"""
    decay_norm: bool = True
    """whether γ and β decay too"""


class Adam(Section):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019)."""

    name: Literal["adam", "adamw"]
    """the optimizer"""
    lr: Positive
    """learning rate"""
    betas: Annotated[list[Probability], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    """decay rates of the two moments"""
    eps: Positive = 1e-8
    """added to the denominator"""
    weight_decay: NonNegative = 0.0
    """L2 penalty (adam) or decoupled weight decay (adamw)"""
    decay_norm: bool = True
    """whether γ and β decay too"""


Optimizer = Annotated[SGD | Adam, Field(discriminator="name")]

Gamma = Annotated[float, Field(gt=0, le=1)]


class ConstantLR(Section):
    """The learning rate stays as it is."""

    name: Literal["none"]
    """the scheduler"""


class StepLR(Section):
    """lr × gamma every `step_size` epochs (steps, where `training.steps` is given)."""

    name: Literal["step"]
    """the scheduler"""
    step_size: PositiveInt
    """epochs (or steps) between reductions"""
    gamma: Gamma = 0.1
    """factor"""


class MultiStepLR(Section):
    """lr × gamma at each milestone."""

    name: Literal["multistep"]
    """the scheduler"""
    milestones: Annotated[list[PositiveInt], Field(min_length=1)]
    """epochs (or steps) of the reductions"""
    gamma: Gamma = 0.1
    """factor"""


class ExponentialLR(Section):
    """lr × gamma every epoch (or step)."""

    name: Literal["exponential"]
    """the scheduler"""
    gamma: Gamma
    """factor"""


class CosineLR(Section):
    """From lr to `eta_min` along half a cosine over the whole run."""

    name: Literal["cosine"]
    """the scheduler"""
    eta_min: NonNegative = 0.0
    """final learning rate"""


class ReduceOnPlateau(Section):
    """lr × factor when the monitored metric has not improved for `patience` evaluations."""

    name: Literal["reduce_on_plateau"]
    """the scheduler"""
    monitor: Metric | None = None
    """the metric; null = training.monitor"""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """factor"""
    patience: Count = 10
    """evaluations without improvement that are borne"""
    threshold: NonNegative = 1e-4
    """the least relative change that counts as an improvement"""
    min_lr: NonNegative = 0.0
    """lowest learning rate"""


_Schedulers = ConstantLR | StepLR | MultiStepLR | ExponentialLR | CosineLR | ReduceOnPlateau
Scheduler = Annotated[_Schedulers, Field(discriminator="name"), shorthand("name", _Schedulers | str)]


class EarlyStopping(Section):
    """Stop when the monitored metric has not improved for `patience` evaluations."""

    monitor: Metric | None = None
    """the metric; null = training.monitor"""
    patience: PositiveInt
    """evaluations in a row without improvement after which the run stops"""
    min_delta: NonNegative = 0.0
    """the least change that counts as an improvement"""


class ShuffledSampler(Section):
    """Every example once an epoch, in a random order."""

    name: Literal["shuffled"]
    """how batches are drawn"""


class ClassClusteredSampler(Section):
    """Batches of few classes (Ioffe 2017): random blocks of one class each; what is left ends the epoch, mixed."""

    name: Literal["class_clustered"]
    """how batches are drawn"""
    classes_per_batch: PositiveInt
    """blocks in a batch, and so its classes at most; divides the batch size"""


_Samplers = ShuffledSampler | ClassClusteredSampler
Sampler = Annotated[_Samplers, Field(discriminator="name"), shorthand("name", _Samplers | str)]


class Training(Section):
    """How to train."""

    epochs: PositiveInt | None = None
    """passes over the training examples; or give steps"""
    steps: PositiveInt | None = None
    """optimizer steps; or give epochs"""
    eval_every: PositiveInt | None = None
    """steps between evaluations; null = at the end of each epoch. The end of the run is always evaluated"""
    batch_size: Annotated[Literal["full"] | PositiveInt, must_be("a number of examples, or full")] = 64
    """examples in a batch, or `full`"""
    sampler: Sampler = ShuffledSampler(name="shuffled")
    """how batches are drawn: a name, or a mapping with `name` and its options"""
    optimizer: Optimizer
    """the optimizer"""
    scheduler: Scheduler = ConstantLR(name="none")
    """learning-rate schedule: a name, or a mapping with `name` and its options"""
    trainable: Literal["all", "norm", "all_but_norm", "random"] = "all"
    """what is trained: everything, γ and β alone (Frankle et al. 2020), everything else, or as many random entries of
    each normalized layer's weight as its γ and β have"""
    clip_gradient_norm: Positive | None = None
    """largest Euclidean norm of the gradient; null = no clipping"""
    diverged_above: Annotated[float, Field(gt=1, le=MAX_NUMBER)] | None = None
    """a training loss above this multiple of the first batch's counts as diverged, beside NaN and infinity; null =
    these alone"""
    monitor: Metric | None = None
    """the metric that decides which evaluation is the best; null = what early stopping monitors, else val/loss,
    else train/loss"""
    early_stopping: EarlyStopping | None = None
    """when to stop early; null = never"""
    checkpoint_every: PositiveInt | None = None
    """evaluations between checkpoints; null = one each, but at most one every 2 s"""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads within a run"""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
