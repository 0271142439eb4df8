"""The `training` section: how long, with which optimizer, when to stop."""

from typing import Annotated, Literal

from pydantic import Field

from bncompare.config.metrics import MonitorName
from bncompare.config.optimizers import Optimizer
from bncompare.config.samplers import Sampler, ShuffledSampler
from bncompare.config.schedulers import ConstantLR, Scheduler
from bncompare.options import MAX_NUMBER, Count, NonNegative, Positive, PositiveInt, Section, must_be


class EarlyStopping(Section):
    """Stop when the monitored metric has not improved for `patience` evaluations."""

    monitor: MonitorName | None = None
    """the metric; null = training.monitor"""
    patience: PositiveInt
    """evaluations in a row without improvement after which the run stops"""
    min_delta: NonNegative = 0.0
    """the least change that counts as an improvement"""


class Training(Section):
    """How to train."""

    epochs: PositiveInt | None = None
    """passes over the training examples; or give steps"""
    steps: PositiveInt | None = None
    """optimizer steps; or give epochs"""
    eval_every: PositiveInt | None = None
    """steps between evaluations; null = at the end of each epoch. The end of the run is always evaluated"""
    evaluate_at_start: bool = False
    """an evaluation before the first step as well, at step and epoch 0. Its `train/…` are those of the first epoch,
    had nothing been learned in it. It is never the best, and neither early stopping nor a schedule counts it"""
    batch_size: Annotated[Literal["full"] | PositiveInt, must_be("a number of examples, or full")] = 64
    """examples in a batch, or `full`"""
    sampler: Sampler = ShuffledSampler(name="shuffled")
    """how batches are drawn: a name, or a mapping with `name` and its options"""
    optimizer: Optimizer
    """the optimizer"""
    scheduler: Scheduler = ConstantLR(name="none")
    """learning-rate schedule: a name, or a mapping with `name` and its options"""
    warmup: Count = 0
    """epochs (or steps, where `steps` is given) in which the learning rate grows linearly to `lr`, step by step
    (Goyal et al. 2017). The schedule begins after them, and counts from there"""
    trainable: Literal["all", "norm", "all_but_norm", "random"] = "all"
    """what is trained: everything, γ and β alone (Frankle et al. 2020), everything else, or as many random entries of
    each normalized layer's weight as its γ and β have"""
    clip_gradient_norm: Positive | None = None
    """largest Euclidean norm of the gradient; null = no clipping"""
    l1: NonNegative = 0.0
    """L1 penalty: what times the absolute values of all weights of dense layers and convolutions is minimized beside
    the loss (biases, γ and β are left out; of a weight that a norm makes, what it is made from counts). The losses
    that are recorded are without it"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """of classes: share of the target that is spread evenly over all of them in training (Szegedy et al. 2016). All
    losses that are recorded, `train/loss` too, are without it"""
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
    stack: bool = False
    """train the seeds of a variant as one program, which is for a GPU: the numbers are those of seeds that train
    alone but for rounding, and there are no checkpoints"""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads within a run"""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$")] = "auto"
    """auto, cpu, cuda, cuda:1 or mps"""
