"""What watches the evaluations of a run: the best so far, and how long there was no better one."""

from typing import Any

from torch import Tensor, nn

from bncompare.config import EarlyStopping, Metric, RunConfig

Weights = dict[str, Tensor]


class Best:
    """The best evaluation so far, by the monitored metric, and a copy of its weights."""

    def __init__(self, run: RunConfig) -> None:
        assert run.training.monitor is not None, "resolved with the config"
        self.monitor = run.training.monitor
        self.metrics: dict[str, float] | None = None
        self.weights: Weights | None = None

    def update(self, epoch: float, step: int, metrics: dict[str, float], model: nn.Module) -> None:
        """Keep this evaluation if it is better than all before."""
        value = metrics[self.monitor]
        if self.metrics is not None:
            before = self.metrics[self.monitor]
            if not (value > before if Metric(self.monitor).higher_is_better else value < before):
                return
        self.metrics = {"epoch": epoch, "step": step, **metrics}
        # state_dict() alone is an alias of the weights that training goes on to change.
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics, self.weights = state["metrics"], state["weights"]


class Patience:
    """Early stopping: evaluations in a row that did not improve on the reference by more than min_delta."""

    def __init__(self, choice: EarlyStopping) -> None:
        self.choice = choice
        self.reference: float | None = None
        self.without_improvement = 0

    def update(self, metrics: dict[str, float]) -> bool:
        """Count an evaluation; True if training should stop."""
        assert self.choice.monitor is not None, "resolved with the config"
        value = metrics[self.choice.monitor]
        sign = 1 if Metric(self.choice.monitor).higher_is_better else -1
        if self.reference is None or sign * (value - self.reference) > self.choice.min_delta:
            self.reference = value
            self.without_improvement = 0
        else:
            self.without_improvement += 1
        return self.without_improvement >= self.choice.patience

    def state_dict(self) -> dict[str, Any]:
        return {"reference": self.reference, "without_improvement": self.without_improvement}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reference, self.without_improvement = state["reference"], state["without_improvement"]
