"""The loss in training and in evaluation mode."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from bncompare.probes.base import Probe, Reading
from bncompare.probes.plan import Plan

if TYPE_CHECKING:
    from bncompare.probes.subject import Subject


class TrainEvalGap(Probe):
    """The loss of the batch in training mode and in evaluation mode.

    Cost: two forward passes; with population statistics, a pass over the training set for each norm layer.
    """

    order: ClassVar = 6

    train_eval_gap: bool = False
    """the loss of the batch in training and in evaluation mode"""

    def of_model(self, plan: Plan) -> Iterator[str]:
        """Whatever the model."""
        yield from ("loss in training mode", "loss in evaluation mode")

    def measure(self, subject: "Subject") -> Iterator[Reading]:
        """With the statistics that the run is evaluated with."""
        import torch

        with torch.no_grad():
            training = subject.loss_fn(subject.forward(), subject.targets)
            subject.restore_buffers()
            with subject.in_evaluation(subject.model):
                evaluation = subject.loss_fn(subject.model(subject.inputs), subject.targets)
        yield Reading("model", "loss in training mode", training.item())
        yield Reading("model", "loss in evaluation mode", evaluation.item())
