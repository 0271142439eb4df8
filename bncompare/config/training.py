"""The `training` section: how long, with which optimizer, when to stop."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bncompare.config.metrics import Metric
from bncompare.config.model import Probability
from bncompare.options import MAX_NUMBER, Count, NonNegative, Positive, PositiveInt, Section, must_be, one_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MonitorName = Literal["train/loss", "train/accuracy", "val/loss", "val/accuracy"]


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

    @property
    def num_moments(self) -> int:
        """How many numbers it keeps for each that it trains."""
        return int(self.momentum > 0)

    def build(self, groups: list[dict[str, Any]], *, fused: bool) -> "torch.optim.Optimizer":
        """Torch's, for groups of parameters; `fused`: with one kernel for all."""
        from torch.optim import SGD

        return SGD(groups, **self.model_dump(exclude={"name", "decay_norm"}), fused=fused)


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

    @property
    def num_moments(self) -> int:
        """How many numbers it keeps for each that it trains."""
        return 2

    def build(self, groups: list[dict[str, Any]], *, fused: bool) -> "torch.optim.Optimizer":
        """Torch's, for groups of parameters; `fused`: with one kernel for all."""
        from torch.optim import Adam, AdamW

        optimizer = Adam if self.name == "adam" else AdamW
        options = self.model_dump(exclude={"name", "decay_norm", "betas"})
        return optimizer(groups, betas=(self.betas[0], self.betas[1]), fused=fused, **options)


Optimizer = Annotated[SGD | Adam, one_of("name", SGD, Adam)]

Gamma = Annotated[float, Field(gt=0, le=1)]


class Schedule(Section):
    """What every learning-rate schedule has."""

    @property
    def watched(self) -> str | None:
        """The metric that it follows from evaluation to evaluation; None: it goes by epochs (or steps)."""
        return None

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """Torch's scheduler, for a run of so many epochs (or steps); None where the rate stays as it is."""
        raise NotImplementedError


class ConstantLR(Schedule):
    """The learning rate stays as it is."""

    name: Literal["none"]
    """the scheduler"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """No scheduler."""
        return None


class StepLR(Schedule):
    """lr × gamma every `step_size` epochs (steps, where `training.steps` is given)."""

    name: Literal["step"]
    """the scheduler"""
    step_size: PositiveInt
    """epochs (or steps) between reductions"""
    gamma: Gamma = 0.1
    """factor"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.StepLR."""
        from torch.optim.lr_scheduler import StepLR

        return StepLR(optimizer, self.step_size, self.gamma)


class MultiStepLR(Schedule):
    """lr × gamma at each milestone."""

    name: Literal["multistep"]
    """the scheduler"""
    milestones: Annotated[list[PositiveInt], Field(min_length=1)]
    """epochs (or steps) of the reductions"""
    gamma: Gamma = 0.1
    """factor"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.MultiStepLR."""
        from torch.optim.lr_scheduler import MultiStepLR

        return MultiStepLR(optimizer, self.milestones, self.gamma)


class ExponentialLR(Schedule):
    """lr × gamma every epoch (or step)."""

    name: Literal["exponential"]
    """the scheduler"""
    gamma: Gamma
    """factor"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.ExponentialLR."""
        from torch.optim.lr_scheduler import ExponentialLR

        return ExponentialLR(optimizer, self.gamma)


class CosineLR(Schedule):
    """From lr to `eta_min` along half a cosine over the whole run."""

    name: Literal["cosine"]
    """the scheduler"""
    eta_min: NonNegative = 0.0
    """final learning rate"""

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.CosineAnnealingLR."""
        from torch.optim.lr_scheduler import CosineAnnealingLR

        return CosineAnnealingLR(optimizer, length, self.eta_min)


class ReduceOnPlateau(Schedule):
    """lr × factor when the monitored metric has not improved for `patience` evaluations."""

    name: Literal["reduce_on_plateau"]
    """the scheduler"""
    monitor: MonitorName | None = None
    """the metric; null = training.monitor"""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """factor"""
    patience: Count = 10
    """evaluations without improvement that are borne"""
    threshold: NonNegative = 1e-4
    """the least relative change that counts as an improvement"""
    min_lr: NonNegative = 0.0
    """lowest learning rate"""

    @property
    def watched(self) -> str | None:
        """`monitor`, which is resolved with the config."""
        return self.monitor

    def build(self, optimizer: "torch.optim.Optimizer", length: int) -> Any:
        """See torch.optim.lr_scheduler.ReduceLROnPlateau."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        mode: Literal["min", "max"] = "max" if Metric(self.monitor or "").higher_is_better else "min"
        options = self.model_dump(include={"factor", "patience", "threshold", "min_lr"})
        return ReduceLROnPlateau(optimizer, mode, **options)


Scheduler = Annotated[
    Schedule,
    one_of("name", ConstantLR, StepLR, MultiStepLR, ExponentialLR, CosineLR, ReduceOnPlateau, short=True),
]


class EarlyStopping(Section):
    """Stop when the monitored metric has not improved for `patience` evaluations."""

    monitor: MonitorName | None = None
    """the metric; null = training.monitor"""
    patience: PositiveInt
    """evaluations in a row without improvement after which the run stops"""
    min_delta: NonNegative = 0.0
    """the least change that counts as an improvement"""


class ShuffledSampler(Section):
    """Every example once an epoch, in a random order."""

    name: Literal["shuffled"]
    """how batches are drawn"""

    def arrange(self, order: "Tensor", targets: "Tensor", batch_size: int, random: "torch.Generator") -> "Tensor":
        """The order (N,) of an epoch, from a random one; `targets` are those of the examples as they are."""
        return order


class ClassClusteredSampler(Section):
    """Batches of few classes (Ioffe 2017): random blocks of one class each; what is left ends the epoch, mixed."""

    name: Literal["class_clustered"]
    """how batches are drawn"""
    classes_per_batch: PositiveInt
    """blocks in a batch, and so its classes at most; divides the batch size"""

    def arrange(self, order: "Tensor", targets: "Tensor", batch_size: int, random: "torch.Generator") -> "Tensor":
        """Blocks of examples of one class, shuffled; then what is left of the classes, in the given order."""
        import torch

        size, labels = batch_size // self.classes_per_batch, targets.cpu()[order]
        blocks, rest = [], torch.ones(len(order), dtype=torch.bool)
        for label in torch.unique(labels):
            places = (labels == label).nonzero().squeeze(1)
            places = places[: len(places) - len(places) % size]
            rest[places] = False
            blocks.append(order[places].view(-1, size))
        stacked = torch.cat(blocks)
        shuffled = stacked[torch.randperm(len(stacked), generator=random)]
        return torch.cat([shuffled.flatten(), order[rest]])


Sampler = Annotated[
    ShuffledSampler | ClassClusteredSampler, one_of("name", ShuffledSampler, ClassClusteredSampler, short=True)
]


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
    monitor: MonitorName | None = None
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
