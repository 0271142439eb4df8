"""Loading the state of training from a snapshot, which must be that of the run in its keys, types and shapes."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bncompare.config import RunConfig
from bncompare.errors import UserError
from bncompare.runs import ADVICE


@dataclass(frozen=True)
class _Optional:
    """None, or like this."""

    value: Any


@dataclass(frozen=True)
class _Torch:
    """A state_dict of torch's, whose keys are those of its version: like this in what both have."""

    state: Mapping[Any, Any]


@dataclass(frozen=True)
class _OptimizerState:
    """What an optimizer keeps, by number of parameter and name: numbers, or tensors of the parameter's shape."""

    parameters: list[Tensor]


def load_state(
    snapshot: bytes,
    run: RunConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    device: torch.device,
) -> dict[str, Any]:
    """The state in a snapshot of a run; no code in it runs, and it takes no more memory than it is long.

    Raises UserError if it is not one of this run: whoever writes a checkpoint can write its checksum.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(snapshot)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(snapshot):
                raise ValueError("it would become larger than it is")
        state = torch.load(io.BytesIO(snapshot), map_location=device, weights_only=True)
    except Exception as error:  # of an archive that is none, or of whatever is in it
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"its checkpoint cannot be loaded: {reason}; {ADVICE}") from None
    problem = next(_differences(state, _expected(run, model, optimizer, scheduler), "state"), None)
    first = 0 if run.is_evaluated(0) else 1
    if problem is None and not (type(state["step"]) is int and first <= state["step"] < run.total_steps):
        problem = f"state.step must be a whole number from {first} to {run.total_steps - 1}"
    if problem is not None:
        raise UserError(f"its checkpoint is not one of this run: {problem}; {ADVICE}")
    return dict(state)


def _expected(run: RunConfig, model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any) -> dict[str, Any]:
    weights = model.state_dict()
    evaluation = dict.fromkeys(["epoch", "step", *run.metric_names, "lr"], 0.0)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    groups = [_Torch(group) for group in optimizer.state_dict()["param_groups"]]
    return {
        "step": 0,
        "largest_loss": 0.0,
        "model": weights,
        "optimizer": {"state": _OptimizerState(parameters), "param_groups": groups},
        "scheduler": _Torch(scheduler.state_dict()) if scheduler else None,
        "best": {"metrics": _Optional(evaluation), "weights": _Optional(dict(weights))},
        "patience": {"reference": _Optional(0.0), "without_improvement": 0} if run.training.early_stopping else None,
    }


def _differences(found: Any, like: Any, where: str) -> Iterator[str]:
    """Where something is not like another, a line each."""
    if isinstance(like, _Optional):
        if found is not None:
            yield from _differences(found, like.value, where)
    elif isinstance(like, _OptimizerState):
        yield from _differences_of_moments(found, like.parameters, where)
    elif isinstance(like, _Torch):
        if not isinstance(found, dict):
            yield f"{where} must be a state_dict"
        else:
            for key in like.state.keys() & found.keys():
                yield from _differences(found[key], like.state[key], f"{where}.{key}")
    elif isinstance(like, Mapping):
        if not isinstance(found, type(like)) or found.keys() != like.keys():
            yield f"{where} must have the keys {', '.join(map(str, like))}"
        else:
            for key, value in like.items():
                yield from _differences(found[key], value, f"{where}.{key}")
    elif isinstance(like, list | tuple):
        if not isinstance(found, type(like)) or len(found) != len(like):
            yield f"{where} must have {len(like)} entries"
        else:
            for i, value in enumerate(like):
                yield from _differences(found[i], value, f"{where}.{i}")
    elif isinstance(like, Tensor):
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (like.shape, like.dtype):
            yield f"{where} must be a tensor of {like.dtype} and shape {tuple(like.shape)}"
    elif type(like) in (int, float):
        if type(found) not in (int, float):
            yield f"{where} must be a number"
    elif type(found) is not type(like):
        yield f"{where} must be of type {type(like).__name__}"


def _differences_of_moments(found: Any, parameters: list[Tensor], where: str) -> Iterator[str]:
    if not isinstance(found, dict) or not found.keys() <= set(range(len(parameters))):
        yield f"{where} must have numbers of parameters for keys"
        return
    for number, kept in found.items():
        shape = parameters[number].shape
        for name, value in kept.items() if isinstance(kept, dict) else [("state", kept)]:
            if value is not None and not (isinstance(value, Tensor) and value.shape in ((), shape)):
                yield f"{where}.{number}.{name} must be a tensor of shape {tuple(shape)}"
