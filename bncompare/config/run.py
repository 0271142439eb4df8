"""One run, fully resolved: what `config.yaml` in a run folder holds.

Values are strict (a bool is no number, a quoted number no number), unknown keys are errors, NaN and infinity are
refused.
"""

import hashlib
import json
import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from bncompare import plugins as others
from bncompare.config.claims import Claim
from bncompare.config.data import Data
from bncompare.config.diagnostics import Diagnostics
from bncompare.config.keys import MAX_LABEL_LENGTH, flatten, without
from bncompare.config.model import AnyModel
from bncompare.config.names import variant_name
from bncompare.config.seeds import Design, Seeds, seeds_of
from bncompare.config.training import Training
from bncompare.config.tuning import SomeSeeds, Tune
from bncompare.config.yaml import dump_yaml
from bncompare.errors import printable
from bncompare.options import Count, Section

# What a run is called, claimed of it, and where and how it is trained, which changes none of its numbers.
_NOT_DECISIVE = (
    *("name", "variant", "design", "tuning_seeds", "claims"),
    *("data.dir", "data.path", "training.device", "training.checkpoint_every"),
)


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """Of a resolved config, which may be of a run from elsewhere, all that decides the numbers, by dotted key."""
    return without(flatten(config), _NOT_DECISIVE)


def _left_out(*keys: str) -> dict[str, Any]:
    """Dotted keys as pydantic takes them: `data.dir` as `{"data": {"dir": True}}`."""
    tree: dict[str, Any] = {}
    for key in keys:
        section, _, rest = key.partition(".")
        tree[section] = tree.get(section, {}) | {rest: True} if rest else True
    return tree


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
    overridden: dict[str, Any] = {}
    """what the config file has, by dotted key, where `--set` changed what its claims were stated for"""


# A folder with a leading dot is hidden, from people and from the commands that look for runs; one with a leading
# hyphen is an option to other commands.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")


def _check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        expected = "1 to 80 letters, digits, '.', '_' or '-', the first no '.' or '-'"
        raise PydanticCustomError("must_be", "must be {expected}", {"expected": expected})
    return value


class RunConfig(Section):
    """One run, fully resolved: a variant and a seed. `compare` and further seeds have been expanded."""

    name: Annotated[str, AfterValidator(_check_name)]
    """the experiment; its folder under runs/"""
    variant: Variant = Variant(label="run")
    """which variant this is; in a run folder's config.yaml only"""
    design: Design | None = None
    """how the seeds of the experiment were chosen as this run began; in a run folder's config.yaml only"""
    seeds: Seeds = [0]
    """a number n for the seeds 0…n-1, a list, or as many as it takes: `{until: decided}`"""
    data: Data
    """the dataset"""
    model: AnyModel
    """the model"""
    training: Training
    """the training setup"""
    diagnostics: Diagnostics = Diagnostics()
    """what to measure beside the metrics"""
    claims: list[Claim] = []
    """what the experiment is expected to show"""
    tuning_seeds: list[Count] = []
    """the seeds on which settings are chosen, so that no verdict rests on them; in a run folder's config.yaml only"""
    plugins: dict[str, str] = {}
    """the packages and files of others that it takes, each with its version or hash; in a run folder's config.yaml
    only"""

    @property
    def seed(self) -> int:
        """The seed of this run."""
        (seed,) = seeds_of(self.seeds)
        return seed

    @property
    def plugins_here(self) -> dict[str, str]:
        """What `plugins` is with those that are here."""
        return others.used([self.data, self.model, *self.diagnostics.wanted])

    @property
    def variant_name(self) -> str:
        """What people call the variant."""
        return variant_name(self.model_dump(include={"variant": True, "model": {"norm"}}))

    @property
    def decisive(self) -> dict[str, Any]:
        """Everything that decides the numbers, by dotted key."""
        return decisive(self.model_dump())

    @property
    def digest(self) -> str:
        """Eight hex digits of `decisive`."""
        canonical = json.dumps(self.decisive, sort_keys=True)
        return hashlib.blake2b(canonical.encode(), digest_size=4).hexdigest()

    @property
    def fingerprint(self) -> str:
        """What decides the numbers but for the seed, as text: the same for variants that are the same. It takes a
        tenth of the time of a digest."""
        return self.model_dump_json(exclude=_left_out(*_NOT_DECISIVE, "seeds"))

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
        num_train, batch_size = self.data.num_train, self.batch_size
        return int(num_train > batch_size and num_train % batch_size == 1)

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

    @property
    def schedule_unit(self) -> int:
        """Steps in what a schedule counts: those of an epoch, or one where the run is given in steps."""
        return 1 if self.training.epochs is None else self.steps_per_epoch

    @property
    def warmup_steps(self) -> int:
        """In which the learning rate grows."""
        return self.training.warmup * self.schedule_unit

    @property
    def num_evaluations(self) -> int:
        """If the run goes on to its end, that at the start counted."""
        between = self.training.eval_every or self.steps_per_epoch
        return -(-self.total_steps // between) + self.training.evaluate_at_start

    def is_evaluated(self, step: int) -> bool:
        """Whether there is an evaluation after this many steps, if the run goes on so far; the end always has one."""
        if step == 0:
            return self.training.evaluate_at_start
        return step % (self.training.eval_every or self.steps_per_epoch) == 0 or step == self.total_steps

    def is_measured(self, step: int) -> bool:
        """Whether diagnostics are measured after this many steps, likewise."""
        between = (self.training.eval_every or self.steps_per_epoch) * self.diagnostics.every
        return self.is_evaluated(step) and (step % between == 0 or step == self.total_steps)

    def to_yaml(self) -> str:
        """The text of config.yaml."""
        return dump_yaml(_name_first(self.model_dump()))


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
    tune: Tune | None = None
    """the best of each norm at equal budget: tried at the same points, chosen on validation, judged on fresh seeds"""
    judge_seeds: SomeSeeds | None = None
    """of a grid of norms and hyperparameters: the fresh seeds, a number or a list, on which the setting that
    validation chose for each norm is trained again and judged"""
