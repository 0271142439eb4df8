"""The laws of a norm, which every kind of this package passes in its tests: `bncompare norms --test KIND`.

Each is a function that says what is wrong, or None. Those of a module take the norm with its options and the shape of
an example; those of a training take a run.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from bncompare.config import RunConfig, dump_yaml, load_experiment
from bncompare.errors import UserError, raised
from bncompare.norms import NORMS, ActivationNorm, NoNorm, Norm, Shape
from bncompare.randomness import StepRandomness
from bncompare.training import Datasets, Record, build_model, train

CPU = torch.device("cpu")
SHAPES: tuple[Shape, ...] = ((6,), (6, 5, 5))
"""of an example, after a dense layer and after a convolution"""
BATCH_SIZE = 8
TOLERANCE = 1e-12
Broken = str | None


@dataclass(frozen=True)
class Held:
    """What came of a law."""

    law: str
    says: str
    broken: Broken
    """how it is broken, if it is"""


def built(norm: Norm, shape: Shape) -> nn.Module:
    """The module in float64, with what it draws in the first step."""
    module = norm.build(shape).double()
    if isinstance(module, StepRandomness):
        module.reseed(0, "x", 0, CPU)
    return module


def inputs(shape: Shape, seed: int = 0) -> Tensor:
    """A batch with mean 2 and standard deviation 3, (8, *shape) float64."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH_SIZE, *shape, dtype=torch.float64, generator=random) * 3 + 2


# ---------------------------------------------------------------- of a module


def keeps_shape(norm: Norm, shape: Shape) -> Broken:
    """What comes out is finite and has the shape of what goes in, in training and in evaluation."""
    module, x = built(norm, shape), inputs(shape)
    for mode, size in itertools.product((True, False), (BATCH_SIZE, 2)):
        y = module.train(mode)(x[:size])
        if y.shape != x[:size].shape:
            return f"{tuple(x[:size].shape)} becomes {tuple(y.shape)}"
        if not y.isfinite().all():
            return f"values that are not finite {'in training' if mode else 'in evaluation'}"
    return None


def equals_reference(norm: Norm, shape: Shape) -> Broken:
    """In float64 it computes what `reference` says."""
    if not isinstance(norm, ActivationNorm):
        return None
    x = inputs(shape)
    try:
        wanted = norm.reference(x.numpy())
    except NotImplementedError:
        return "it has no `reference`, its formula in NumPy, to be held against"
    found = built(norm, shape)(x).detach().numpy()
    if found.shape != wanted.shape:
        return f"the reference has the shape {wanted.shape}, the module {found.shape}"
    # As np.testing.assert_allclose has it: relative to what is wanted, beside the absolute.
    off = np.abs(found - wanted) - 1e-7 * np.abs(wanted)
    return f"it is off by {np.abs(found - wanted).max():.2g}" if not (off <= TOLERANCE).all() else None


def has_gradient(norm: Norm, shape: Shape) -> Broken:
    """The gradients of what goes in and of what it learns are those of finite differences."""
    small = shape[:1] + (2,) * (len(shape) - 1)
    x = torch.randn(6, *small, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    learned = dict(built(norm, small).named_parameters())

    def output(x: Tensor, *values: Tensor) -> Any:
        module = built(norm, small)  # a new one each time: it may track what it sees
        return functional_call(module, dict(zip(learned, values, strict=True)), x)

    try:
        gradcheck(output, (x, *learned.values()), fast_mode=True)  # along random directions
    except GradcheckError as error:
        return str(error).strip().splitlines()[0]
    return None


def counts_parameters(norm: Norm, shape: Shape) -> Broken:
    """`num_parameters` is how many numbers it learns."""
    found = sum(parameter.numel() for parameter in norm.build(shape).parameters())
    said = norm.num_parameters(shape)
    return f"it learns {found}, and says {said}" if found != said else None


def evaluates(norm: Norm, shape: Shape) -> Broken:
    """Evaluation changes nothing, gives the same again, and takes a single example."""
    module, x = built(norm, shape), inputs(shape)
    module(x)
    module.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first, second = module(x), module(x)
    if not torch.equal(first, second):
        return "the same batch gives something else"
    changed = [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        return f"it changes {', '.join(changed)}"
    return None if module(x[:1]).isfinite().all() else "a single example has values that are not finite"


def survives_state_dict(norm: Norm, shape: Shape) -> Broken:
    """Restored from its `state_dict` it evaluates to the same bits."""
    first, second, x = built(norm, shape), built(norm, shape), inputs(shape)
    first(x)
    second.load_state_dict(first.state_dict())
    return (
        None if torch.equal(first.eval()(x), second.eval()(x)) else "something that it learns or tracks is not in it"
    )


def takes_constants(norm: Norm, shape: Shape) -> Broken:
    """A constant batch has finite values and gradients."""
    x = torch.full((BATCH_SIZE, *shape), 3.0, dtype=torch.float64).requires_grad_()
    y = built(norm, shape)(x)
    (y * inputs(shape)).sum().backward()
    if not y.isfinite().all():
        return "values that are not finite"
    return None if x.grad is None or x.grad.isfinite().all() else "gradients that are not finite"


MODULE_LAWS: Mapping[str, Callable[[Norm, Shape], Broken]] = {
    "shapes": keeps_shape,
    "reference": equals_reference,
    "gradient": has_gradient,
    "parameters": counts_parameters,
    "evaluation": evaluates,
    "state_dict": survives_state_dict,
    "constants": takes_constants,
}


# ---------------------------------------------------------------- of a training


def is_paired(run: RunConfig) -> Broken:
    """The initial weights of the other layers are those of a model without a norm, whatever was drawn before."""
    without = run.model_copy(update={"model": run.model.model_copy(update={"norm": NoNorm(kind="none")})})
    with torch.random.fork_rng(devices=[]):
        ours, again, theirs = (_initial(one, seed) for one, seed in ((run, 1), (run, 2), (without, 3)))
    drawn = [name for name in ours if not torch.equal(ours[name], again[name])]
    if drawn:
        return f"{', '.join(drawn)}: drawn from torch's global generator"
    shared = ours.keys() & theirs.keys()
    moved = sorted(name for name in shared if not torch.equal(ours[name], theirs[name]))
    if moved or not shared:
        return f"{', '.join(moved) or 'every name'}: not as without the norm"
    return None


def _initial(run: RunConfig, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return dict(build_model(run).state_dict())


def resumes(run: RunConfig, device: torch.device = CPU) -> Broken:
    """Interrupted again and again, after one evaluation and after two, it gives the records and weights of a run that
    never stopped, to the bit."""
    dataset = Datasets(None).of(run)
    straight = list(train(run, dataset, device))
    resumed, checkpoint = list[Record](), None
    with torch.random.fork_rng(devices=[]):
        while not resumed or resumed[-1].outcome is None:
            torch.manual_seed(len(resumed))
            for record in itertools.islice(train(run, dataset, device, checkpoint), 1 + len(resumed) % 3 % 2):
                resumed.append(record)
                checkpoint = record.checkpoint()
    for ours, theirs in zip(resumed, straight, strict=False):
        if bits_of(ours) != bits_of(theirs):
            return f"after step {theirs.step} it is {ours.metrics}, not {theirs.metrics}"
    if len(resumed) != len(straight):
        return f"{len(resumed)} evaluations, not {len(straight)}"
    weights = [record.outcome.best_weights if record.outcome else None for record in (straight[-1], resumed[-1])]
    if weights[0] is None or weights[1] is None:
        return None if weights[0] is weights[1] else "only one of them has best weights"
    differing = [name for name, value in weights[0].items() if not torch.equal(value, weights[1][name])]
    return f"{', '.join(differing)}: other values" if differing else None


def bits_of(record: Record) -> tuple[Any, ...]:
    """What of a record must be equal to the bit."""
    outcome = record.outcome and (record.outcome.status, record.outcome.best, record.outcome.last)
    return record.epoch, record.step, record.metrics, outcome


RUN_LAWS: Mapping[str, Callable[[RunConfig], Broken]] = {"pairing": is_paired, "resumption": resumes}
_TRAINING = {
    "epochs": 3,
    "batch_size": 16,
    "device": "cpu",
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
}
_PLACES: Mapping[Shape, Any] = {
    (6,): {
        "data": {"name": "random_regression", "samples": 64, "test_samples": 16, "features": 3, "validation": 16},
        "model": {"name": "mlp", "hidden": [6, 6]},
    },
    (6, 5, 5): {
        "data": {"name": "digits", "resize": 28, "train_size": 64, "validation": 20},
        "model": {"name": "lenet"},
    },
}


def run_with(norm: Norm, shape: Shape) -> RunConfig:
    """A short run with the norm in places of some shape: after the dense layers of an MLP, or in a LeNet."""
    place = _PLACES[shape]
    options = norm.model_dump(exclude_unset=True) | ({"layers": "conv"} if len(shape) > 1 else {})
    config = {"name": "laws", **place, "training": _TRAINING, "compare": {"model.norm": [options]}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "laws.yaml")
        path.write_text(dump_yaml(config), encoding="utf-8")
        return load_experiment(path, seeds="1").runs[0]


# ---------------------------------------------------------------- all of them


def laws_of(kind: str) -> Iterator[Held]:
    """Hold a kind of norm against every law, with the options in `tested_with`. Raises UserError if there are none.

    The first says which shapes it takes; a law is broken where it is for one of them.
    """
    torch.set_num_threads(1)  # of tensors so small more threads only wait for each other
    norm = NORMS[kind].model_validate({"kind": kind, **NORMS[kind].tested_with})
    if not isinstance(norm, Norm):
        raise UserError(f"{kind}: is no norm to test")
    refused = {shape: norm.problem(shape, BATCH_SIZE) for shape in SHAPES}
    taken = [shape for shape, why in refused.items() if why is None]
    if not taken:
        yield Held(
            "shapes", _says(keeps_shape), "; ".join(f"{shape} refused: {why}" for shape, why in refused.items())
        )
        return
    if isinstance(norm, ActivationNorm):
        for name, law in MODULE_LAWS.items():
            yield Held(name, _says(law), _first_broken(law, norm, taken))
    for name, of_run in RUN_LAWS.items():

        def law_of_run(norm: Norm, shape: Shape, of_run: Callable[[RunConfig], Broken] = of_run) -> Broken:
            return of_run(run_with(norm, shape))

        yield Held(name, _says(of_run), _first_broken(law_of_run, norm, taken))


def _says(law: Callable[..., Broken]) -> str:
    return " ".join((law.__doc__ or "").split())


def _first_broken(law: Callable[[Norm, Shape], Broken], norm: Norm, shapes: list[Shape]) -> Broken:
    for shape in shapes:
        try:
            broken = law(norm, shape)
        except Exception as error:  # of code that is only being written
            broken = raised(error)
        if broken:
            return f"{shape}: {broken}"
    return None
