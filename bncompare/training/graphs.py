"""CUDA graphs: a step that is recorded once and then replayed, in one launch in place of dozens."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# In the first of them libraries set themselves up, which must not be recorded. A recording takes as long as four (on
# an H200), so that it pays in epochs of eight steps, each with a learning rate of its own.
STEPS_AS_WRITTEN = 3

Kind = tuple[object, ...]
Step = Callable[[Tensor], None]


class Replayed:
    """Steps on a CUDA device, each of which is recorded when it has come up often.

    The same kernels run on the same numbers, so the bits are those of a step that runs as written. What is recorded
    holds the number of rows and the learning rate; where one is another, so is the recording. A step that waits for
    the device, solves for eigenvalues, or puts another tensor in the place of a buffer can't be recorded and goes on
    as written.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer
        self.recorded: dict[Kind, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        """with the tensor that the rows are read from"""
        self.seen = Counter[Kind]()
        self.can_record = True

    def __call__(self, step: Step, rows: Tensor) -> None:
        """Take a step, the same function each time, on the examples of these rows.

        To keep it would keep a loop, whose method it is, and its examples, until Python collects garbage.
        """
        kind = (tuple(rows.shape), tuple(group["lr"] for group in self.optimizer.param_groups))
        if kind not in self.seen:  # a learning rate seldom comes back
            self.seen = Counter({other: number for other, number in self.seen.items() if other[1] == kind[1]})
        self.seen[kind] += 1
        if kind not in self.recorded and self.can_record and self.seen[kind] > STEPS_AS_WRITTEN:
            self._record(kind, step, rows)
        if kind in self.recorded:
            graph, place = self.recorded[kind]
            place.copy_(rows)
            with torch.cuda.device(rows.device):
                graph.replay()
        elif self.can_record and self.seen[kind] == STEPS_AS_WRITTEN:
            before = held(self.model)
            with _Solvers() as solvers:  # type: ignore[no-untyped-call]
                step(rows)
            self.can_record = not solvers.are_used and not replaced(before, self.model)
        else:
            step(rows)

    def _record(self, kind: Kind, step: Step, rows: Tensor) -> None:
        self.recorded = {other: graph for other, graph in self.recorded.items() if other[1] == kind[1]}
        graph, place = torch.cuda.CUDAGraph(), rows.clone()
        self._set_capturable(True)
        try:
            with torch.cuda.device(rows.device), torch.cuda.graph(graph):
                step(place)
        except RuntimeError:
            self.can_record = False
        else:
            self.recorded[kind] = graph, place
        finally:
            self._set_capturable(False)

    def _set_capturable(self, is_so: bool) -> None:
        """Torch asks for the word; where one kernel updates all, it changes nothing."""
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = is_so


Held = dict[str, Tensor | float]


def held(model: nn.Module) -> Held:
    """The tensors and numbers that are attributes of its modules, parameters left out, by dotted name."""
    return {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in (vars(module) | dict(module.named_buffers(recurse=False))).items()
        if isinstance(value, Tensor | float | int)
    }


def replaced(before: Held, model: nn.Module) -> list[str]:
    """The names of those that are no longer what they were; writing into a tensor does not make it another."""
    return [
        name
        for name, now in held(model).items()
        if now is not (then := before.get(name)) and (isinstance(now, Tensor) or now != then)
    ]


class _Solvers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether cuSOLVER may be used, which a recording that fails leaves unusable."""

    are_used = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.are_used |= "linalg_" in func.__name__ and "norm" not in func.__name__
        return func(*args, **(kwargs or {}))
