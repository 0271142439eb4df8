"""CUDA graphs: a step that is recorded once and then replayed, in one launch in place of a hundred."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

STEPS_AS_WRITTEN = 3  # libraries set themselves up in them, which must not be recorded

Kind = tuple[object, ...]


class Replayed:
    """A step on a CUDA device, a function of the rows of its examples, which is recorded when it has come up a few
    times.

    The same kernels run on the same numbers, so the bits are those of a step that runs as written. What is recorded
    holds the number of rows and the learning rate; where one is another, so is the recording. A step that waits for
    the device can't be recorded, and goes on as written.
    """

    def __init__(self, step: Callable[[Tensor], None], optimizer: torch.optim.Optimizer) -> None:
        self.step, self.optimizer = step, optimizer
        self.recorded: dict[Kind, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        """with the tensor that the rows are read from"""
        self.seen = Counter[Kind]()
        self.can_record = True

    def __call__(self, rows: Tensor) -> None:
        """Take a step."""
        rates = tuple(group["lr"] for group in self.optimizer.param_groups)
        kind = (tuple(rows.shape), rates)
        self.seen[kind] += 1
        if self.can_record and kind not in self.recorded and self.seen[kind] > STEPS_AS_WRITTEN:
            # A learning rate seldom comes back.
            self.recorded = {other: graph for other, graph in self.recorded.items() if other[1] == rates}
            self._record(kind, rows)
        if kind in self.recorded:
            graph, place = self.recorded[kind]
            place.copy_(rows)
            with torch.cuda.device(rows.device):
                graph.replay()
        else:
            self.step(rows)

    def _record(self, kind: Kind, rows: Tensor) -> None:
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True  # as it is where one kernel updates all; torch asks for the word
        graph, place = torch.cuda.CUDAGraph(), rows.clone()
        try:
            with torch.cuda.device(rows.device), torch.cuda.graph(graph):
                self.step(place)
        except RuntimeError:
            self.can_record = False
        else:
            self.recorded[kind] = graph, place
