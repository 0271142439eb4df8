"""What a config may say: one class a section, one line of documentation a key.

Values are strict (a bool is no number, a quoted number no number), unknown keys are errors, NaN and
infinity are refused. `RunConfig` is one run, fully resolved: what `config.yaml` in a run folder holds.
"""

import hashlib
import json
import re
import unicodedata
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from bncompare.config import strict_yaml
from bncompare.config.section import (
    MAX_NUMBER,
    MAX_WIDTH,
    Count,
    NonNegative,
    Positive,
    PositiveInt,
    Section,
    must_be,
    shorthand,
)
from bncompare.errors import printable
from bncompare.norms import NORMS, NoNorm, Norm
from bncompare.norms.kinds import EvalStats

Probability = Annotated[float, Field(ge=0, lt=1)]
Metric = Literal["train/loss", "train/accuracy", "val/loss", "val/accuracy"]


def is_better_high(metric: str) -> bool:
    """Accuracy is better high, a loss low."""
    return metric.endswith("/accuracy")


# A scalar at one of these paths stands for a mapping with that one key.
SHORTHANDS: dict[strict_yaml.KeyPath, str] = {
    ("model", "norm"): "kind",
    ("model", "init"): "kind",
    ("model", "dropout"): "p",
    ("training", "scheduler"): "name",
    ("training", "sampler"): "name",
}

# Keys that came after the first digests: left out of them where they have their default, so that run folders keep
# their names.
_LATER = {
    "data": {"targets"},
    "training": {"sampler", "diverged_above"},
    "diagnostics": {
        *("every", "examples", "layers", "activations", "units", "gradients", "norm_parameters", "train_eval_gap"),
        *("running_statistics", "landscape", "covariate_shift", "one_at_a_time"),
    },
}


# ---------------------------------------------------------------- data

Validation = Annotated[
    Literal["test"] | Count | Annotated[float, Field(gt=0, lt=1)],
    must_be("a fraction between 0 and 1, a number of examples, 0 for none, or test"),
]


class DataSection(Section):
    """What every dataset has."""

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
    noise: NonNegative = 1.0
    """standard deviation of the noise in the target"""
    targets: Annotated[int, Field(ge=1, le=100_000)] = 1
    """outputs per example, each with a signal and noise of its own; the squared error is their mean"""

    @property
    def pool_size(self) -> int:
        """Examples before validation is held out."""
        return self.samples

    @property
    def test_size(self) -> int:
        """Examples in the test set."""
        return self.test_samples

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
    """28×28 grey images of ten classes: 60,000 to train on and 10,000 to test."""

    name: Literal["mnist", "fashion_mnist"]
    """the dataset"""
    dir: str | None = None
    """folder with torchvision's layout (MNIST/raw/…); null = BNCOMPARE_DATA or a cache; --data-dir goes first"""
    scaling: Literal["none", "unit", "standardize"] = "unit"
    """pixel values: 0…255, 0…1, or mean 0 and standard deviation 1 over the training examples"""
    binarize: bool = False
    """set pixels of 128 and more to the largest value and the rest to 0, before scaling"""
    synthetic: bool = False
    """made-up images of the same shape (2,000 and 500) in place of the real ones; what --smoke uses"""

    @property
    def pool_size(self) -> int:
        """Examples before validation is held out."""
        return 2_000 if self.synthetic else 60_000

    @property
    def test_size(self) -> int:
        """Examples in the test set."""
        return 500 if self.synthetic else 10_000

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width)"""
        return (1, 28, 28)

    @property
    def num_outputs(self) -> int:
        """One logit a class."""
        return 10

    @property
    def is_classification(self) -> bool:
        """Whether there will be `…/accuracy` metrics."""
        return True


Data = Annotated[RandomRegression | Images, Field(discriminator="name")]


# ---------------------------------------------------------------- model


def _parse_norm(value: Any) -> NoNorm | Norm:
    """A kind, or a mapping with `kind` and the options of that kind, which may be one of `register_norm`."""
    if isinstance(value, NoNorm | Norm):
        return value
    options = value if isinstance(value, dict) else {"kind": value}
    if "kind" not in options:
        raise PydanticCustomError("no_kind", "missing: this key is required")
    kind = options["kind"]
    if not isinstance(kind, str) or kind not in NORMS:
        raise PydanticCustomError("unknown_kind", "unknown kind", {"choices": list(NORMS)})
    return NORMS[kind].model_validate(options)


# What people may write, for editors: the kinds that come with bncompare.
_written: Any = Union[(*NORMS.values(), str)]
AnyNorm = Annotated[SerializeAsAny[NoNorm | Norm], PlainValidator(_parse_norm, json_schema_input_type=_written)]


class GainInit(Section):
    """Glorot or He initialization of the weights; biases start at 0."""

    kind: Literal["xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"]
    """the distribution of the initial weights"""
    gain: Positive = 1.0
    """multiplies the standard deviation"""


class NormalInit(Section):
    """Gaussian weights with mean 0; biases start at 0."""

    kind: Literal["normal"]
    """the distribution of the initial weights"""
    std: Positive
    """standard deviation"""


class DefaultInit(Section):
    """What torch.nn.Linear and Conv2d do: weights and biases uniform in ±1/√fan_in."""

    kind: Literal["torch_default"]
    """the distribution of the initial weights"""


_Inits = DefaultInit | GainInit | NormalInit
AnyInit = Annotated[_Inits, Field(discriminator="kind"), shorthand("kind", _Inits | str)]


class ModelSection(Section):
    """What every model has."""

    activation: Literal["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "silu", "identity"] = "relu"
    """nonlinearity after each hidden layer"""
    norm: AnyNorm = NoNorm(kind="none")
    """a kind, or a mapping with `kind` and its options"""
    init: AnyInit = DefaultInit(kind="torch_default")
    """initial weights: a kind, or a mapping with `kind` and its options"""
    bias: Literal["auto", "always"] = "auto"
    """`auto` leaves out a layer's bias where a norm with its own β follows directly"""


class Dropout(Section):
    """Dropout in the hidden layers."""

    p: Probability = 0.0
    """probability of zeroing a unit"""
    placement: Literal["after_activation", "before_norm"] = "after_activation"
    """where in the layer"""
    layers: Literal["all", "last"] = "all"
    """in every hidden layer, or the last alone"""


class MLP(ModelSection):
    """Dense layers; an image is flattened."""

    name: Literal["mlp"]
    """the model"""
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=MAX_WIDTH)]], Field(min_length=1, max_length=200)]
    """units of each hidden layer"""
    dropout: Annotated[Dropout, shorthand("p", Dropout | float)] = Dropout()
    """a probability, or a mapping with `p`, `placement` and `layers`"""


class LeNet(ModelSection):
    """LeCun et al. 1998 as in Dive into Deep Learning: conv 6@5×5, conv 16@5×5, dense 120, 84, 10."""

    name: Literal["lenet"]
    """the model"""
    padding: Literal[0, 2] = 2
    """padding of the first convolution"""
    pooling: Literal["avg", "max"] = "avg"
    """2×2 pooling after each convolution"""


Model = Annotated[MLP | LeNet, Field(discriminator="name")]


# ---------------------------------------------------------------- training


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


# ---------------------------------------------------------------- diagnostics


class Diagnostics(Section):
    """What is measured beside the metrics and changes none of them; goes to diagnostics.csv.

    What depends on examples is measured on one batch of training examples, the same at every evaluation.
    """

    every: PositiveInt = 1
    """evaluations between measurements; the last evaluation is always measured, unless the run diverged in it"""
    examples: PositiveInt | None = None
    """training examples in the batch that is measured on; null = as many as in a batch of training"""
    layers: Annotated[Literal["all"] | list[str], must_be("all, or a list of layer names")] = "all"
    """the layers measured one by one: all, or a list of names such as [hidden.0, output]"""
    activations: bool = False
    """of what enters each activation: 15th, 50th and 85th percentile, mean and standard deviation; of what leaves it:
    mean, standard deviation, and the fraction of saturated values (sigmoid, tanh) or of dead units (relu)"""
    units: list[Count] = []
    """units (channels) of each of the layers whose percentiles are recorded as well"""
    gradients: bool = False
    """norm of the gradient for each layer's weight, and norm of the step that the optimizer would take next, with the
    learning rate of the last one, over that of the weight; of weight and spectral normalization those of the
    parameters that the weight is made of"""
    norm_parameters: bool = False
    """mean, smallest and largest γ and β of each norm layer, and all of them at the end"""
    running_statistics: bool = False
    """running statistics of each norm layer against those of the batch"""
    train_eval_gap: bool = False
    """the loss of the batch in training and in evaluation mode"""
    landscape: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    """[shortest, longest] step, in learning rates, along the negative gradient: range of the loss, of the change of
    the gradient, and the largest change over the distance (Santurkar et al. 2018, who take [0.5, 4]). Costs 9
    training steps"""
    covariate_shift: bool = False
    """internal covariate shift of each layer (Santurkar et al. 2018, Definition 2.1), with the learning rate of the
    last step. Costs a training step for each layer"""
    eval_stats: list[EvalStats] = []
    """validate with these statistics of the batch family as well, beside the norm's own eval_stats, as far as the
    norm has them. Costs a validation each, `population` a pass over the training set for each norm layer"""
    one_at_a_time: PositiveInt | None = None
    """validation examples, the first ones, that are classified one at a time, with the running statistics of the
    batch family and with those of the one example. Costs two forward passes of two examples for each"""

    @property
    def probes_the_model(self) -> bool:
        """Whether anything is measured on the batch of training examples."""
        switches = (self.activations, self.gradients, self.norm_parameters, self.running_statistics)
        return any((*switches, self.train_eval_gap, self.landscape, self.covariate_shift))


# ---------------------------------------------------------------- the whole

Scalar = str | bool | int | float | None


class At(Section):
    """An evaluation, by its epoch or its step."""

    epoch: PositiveInt | None = None
    """the epoch"""
    step: PositiveInt | None = None
    """the step"""


DIAGNOSTIC = re.compile(r"diagnostics/([^/]+)/(.+)")
ClaimMetric = Literal[
    "train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy", "diverged"
]


def _check_metric(value: Any) -> Any:
    choices = [*get_args(ClaimMetric), "diagnostics/LAYER/QUANTITY"]
    if isinstance(value, str) and (value in choices[:-1] or DIAGNOSTIC.fullmatch(value)):
        return value
    raise PydanticCustomError("unknown_choice", "unknown metric", {"choices": choices})


class Claim(Section):
    """A statement about one variant, or about the difference of two (variant − versus)."""

    statement: Annotated[str, Field(min_length=1, max_length=500)]
    """the claim in words"""
    published: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """what was published, as `0.984 against 0.978`"""
    metric: Annotated[str, BeforeValidator(_check_metric, json_schema_input_type=ClaimMetric | str)]
    """train/loss, train/accuracy, val/loss, val/accuracy, test/loss, test/accuracy; `diverged`, 1 or 0; or
    `diagnostics/LAYER/QUANTITY` from diagnostics.csv, where LAYER may be `*` for the mean over the layers"""
    at: Annotated[Literal["best", "last", "mean"] | At, must_be("best, last, mean, {epoch: N} or {step: N}")] = "best"
    """the evaluation it is about, or the mean over all of them"""
    variant: Annotated[dict[str, Any], Field(min_length=1)]
    """the settings that tell the variant from others, as `model.norm: batch`; or `label: …`"""
    versus: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    """the variant it is compared with"""
    at_least: float | None = None
    """least value"""
    at_most: float | None = None
    """greatest value"""
    difference_at_least: float | None = None
    """least difference"""
    difference_at_most: float | None = None
    """greatest difference"""
    difference_within: Annotated[float, Field(gt=0)] | None = None
    """greatest absolute difference"""

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are given, by name."""
        names = ("at_least", "at_most", "difference_at_least", "difference_at_most", "difference_within")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    @property
    def problem(self) -> str | None:
        """Why its bounds do not fit the number of variants that it is about."""
        differences = [name.startswith("difference") for name in self.bounds]
        if not differences:
            return "needs a bound: at_least, at_most, or difference_at_least, …"
        if self.versus is None and any(differences):
            return "difference_… is about two variants: name the other one in versus"
        if self.versus is not None and not all(differences):
            bounds = ", ".join(name for name in self.bounds if not name.startswith("difference"))
            return f"{bounds} is about one variant: leave out versus, or use difference_…"
        return None

    @property
    def diagnostic(self) -> tuple[str, str] | None:
        """Layer and quantity, if the metric is one of diagnostics.csv."""
        match = DIAGNOSTIC.fullmatch(self.metric)
        return match and (match[1], match[2])


MAX_LABEL_LENGTH = 120
LABEL_RULE = f"1 to {MAX_LABEL_LENGTH} visible characters"


def is_label(text: str) -> bool:
    """Whether a variant may be called so: what a person sees of it is all there is."""
    return printable(text) == text and bool(text.strip()) and len(text) <= MAX_LABEL_LENGTH


def looks_of_label(label: str) -> str:
    """The same for labels that look the same: spaces at the ends, and how accents are put together, do not show."""
    return " ".join(unicodedata.normalize("NFKC", label).split())


def _check_label(value: str) -> str:
    if not is_label(value):
        raise PydanticCustomError("must_be", "must be {expected}", {"expected": LABEL_RULE})
    return value


class Variant(Section):
    """Which variant of an experiment a run is; written by bncompare, not by hand."""

    label: Annotated[str, AfterValidator(_check_label)]
    """the name of the variant in tables and plots"""
    settings: dict[str, Any] = {}
    """the keys this variant sets"""
    index: Count = 0
    """its place among the variants of the experiment"""


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000:
        return list(range(value))
    return value


Seeds = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**63)]],
    Field(min_length=1, max_length=10_000),
    must_be("a number of seeds from 1 to 10000, or a list of whole numbers such as [0, 1, 7]"),
    BeforeValidator(_seeds, json_schema_input_type=int | list[int]),
]

# A folder of a leading dot is hidden, from people and from the commands that look for runs.
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        expected = "1 to 80 letters, digits, '.', '_' or '-', the first no '.'"
        raise PydanticCustomError("must_be", "must be {expected}", {"expected": expected})
    return value


class RunConfig(Section):
    """One run, fully resolved: a variant and a seed. `compare` and further seeds have been expanded."""

    name: Annotated[str, AfterValidator(_check_name)]
    """the experiment; its folder under runs/"""
    variant: Variant = Variant(label="run")
    """which variant this is; in a run folder's config.yaml only"""
    seeds: Seeds = [0]
    """a number n for the seeds 0…n-1, or a list"""
    data: Data
    """the dataset"""
    model: Model
    """the model"""
    training: Training
    """the training setup"""
    diagnostics: Diagnostics = Diagnostics()
    """what to measure beside the metrics"""
    claims: list[Claim] = []
    """what the experiment is expected to show"""

    @property
    def seed(self) -> int:
        """The seed of this run."""
        (seed,) = self.seeds
        return seed

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the numbers: not the name, claims, device, folders or checkpoints."""
        decisive = self.model_dump(include={"data", "model", "training", "diagnostics", "seeds"})
        decisive["data"].pop("dir", None)
        for key in ("device", "checkpoint_every"):
            del decisive["training"][key]
        for section, later in _LATER.items():
            fields = type(getattr(self, section)).model_fields
            for name in later & fields.keys():
                if getattr(getattr(self, section), name) == fields[name].default:
                    del decisive[section][name]
        return decisive

    @property
    def digest(self) -> str:
        """Eight hex digits of `decisive`."""
        canonical = json.dumps(self.decisive, sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()

    @property
    def metric_names(self) -> list[str]:
        """The metrics of an evaluation, in the order of the columns of metrics.csv."""
        splits = ["train", "val"] if self.data.has_validation else ["train"]
        quantities = ["loss", "accuracy"] if self.data.is_classification else ["loss"]
        return [f"{split}/{quantity}" for split in splits for quantity in quantities]

    @property
    def metrics_header(self) -> str:
        """The first line of metrics.csv."""
        return ",".join(["epoch", "step", *self.metric_names, "lr"]) + "\n"

    @property
    def batch_size(self) -> int:
        """Examples in a batch: at most all of them."""
        num_train = self.data.num_train
        return num_train if self.training.batch_size == "full" else min(self.training.batch_size, num_train)

    @property
    def dropped_examples(self) -> int:
        """Examples left out of each epoch: 1 where the ragged last batch would have just one.

        Batch statistics of one example do not exist; it is left out for every norm, so that all variants
        take the same steps.
        """
        return int(self.data.num_train > self.batch_size and self.data.num_train % self.batch_size == 1)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return -(-(self.data.num_train - self.dropped_examples) // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer steps in the whole run."""
        if self.training.steps is not None:
            return self.training.steps
        assert self.training.epochs is not None
        return self.training.epochs * self.steps_per_epoch

    def matches(self, selector: dict[str, Any]) -> bool:
        """Whether a claim's `variant:` or `versus:` is about this run."""
        return selects(selector, self.model_dump())

    def to_yaml(self) -> str:
        """The text of config.yaml."""
        return strict_yaml.dump(_name_first(self.model_dump()))


def selects(selector: dict[str, Any], resolved: dict[str, Any]) -> bool:
    """Whether a claim's `variant:` or `versus:` is about the run with this resolved config.

    Keys are dotted; `label` is the variant's; a scalar stands for the `kind` (or …) of a mapping.
    """
    for key, wanted in selector.items():
        value: Any = resolved
        for part in ["variant", "label"] if key == "label" else key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict) and isinstance(wanted, dict):
            value = {part: value.get(part) for part in wanted}
        elif isinstance(value, dict):
            value = value.get(SHORTHANDS.get(tuple(key.split(".")), ""))
        if value != wanted:
            return False
    return True


def _name_first(data: Any) -> Any:
    """Mappings with their `name` or `kind` in front, where a reader looks for it."""
    if isinstance(data, list):
        return [_name_first(value) for value in data]
    if not isinstance(data, dict):
        return data
    front = {key: data[key] for key in ("name", "kind") if key in data}
    return {key: _name_first(value) for key, value in (front | data).items()}


class ExperimentFile(RunConfig):
    """A config file as a person writes it: settings shared by all runs, and what to compare."""

    compare: dict[str, list[Any]] | list[dict[str, Any]] | None = None
    """a mapping of keys to lists of values (all combinations), or a list of variants, each a mapping with a
    `label` and the keys it sets"""
