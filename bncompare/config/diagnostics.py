"""The `diagnostics` section: what is measured beside the metrics."""

from typing import Annotated, Literal

from pydantic import Field

from bncompare.norms import EvalStats
from bncompare.options import Count, Positive, PositiveInt, Section, must_be


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
