"""The optimizers: torch's own, without what costs time at every step."""

import copy
from typing import Any

import pytest
import torch
from kit import run_of
from torch import nn

from bncompare.training.model import build_model
from bncompare.training.optimizer import build_optimizer

OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (torch.optim.Adam, {"name": "adam", "lr": 0.01, "weight_decay": 0.1}),
    (torch.optim.AdamW, {"name": "adamw", "lr": 0.01, "weight_decay": 0.1}),
]


def steps(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Three, of which none adds to the gradient of the one before."""
    for _ in range(3):
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in model.parameters())
        model(torch.ones(4, 1, 28, 28)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(("torchs", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "__name__", ""))
def test_steps_are_torchs_to_the_bit(torchs: type[torch.optim.Optimizer], options: dict[str, Any]) -> None:
    """And a copy, which a probe takes, takes the same; the profiler hears nothing of either, which costs time."""
    run = run_of("smoke.yaml", f"training.optimizer={options}")
    model, expected = build_model(run), build_model(run)
    optimizer = build_optimizer(run, model)
    keywords = {name: value for name, value in options.items() if name != "name"}
    steps(expected, torchs(expected.parameters(), **keywords, fused=True))
    both = copy.deepcopy((model, optimizer))
    for mine in ((model, optimizer), both):
        with torch.profiler.profile() as profile:
            steps(*mine)
        assert all(map(torch.equal, mine[0].parameters(), expected.parameters()))
        assert [event.key for event in profile.key_averages() if "Optimizer" in event.key] == []


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor knows no other way")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_leaves_no_number_that_is_slow_to_reckon_with(threads: int) -> None:
    """A moment below the smallest normal number becomes 0, within a step alone; none does where several threads have
    a part of the moments each, of which this one alone could flush its own."""
    run = run_of("smoke.yaml", "training.optimizer={name: adam, lr: 0.01}")
    model = build_model(run)
    optimizer = build_optimizer(run, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-37)
    torch.set_num_threads(threads)
    try:
        optimizer.step()
    finally:
        torch.set_num_threads(1)
    for state in optimizer.state.values():
        assert ((state["exp_avg"] == 0) == (threads == 1)).all()
    assert (torch.tensor(1e-38) * 0.1).item() > 0
