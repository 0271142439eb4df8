"""Runs trained in this process."""

import pytest
import torch
from kit import CONFIGS

from bncompare.config import RunConfig, load_experiment
from bncompare.execution.inline import train_job
from bncompare.execution.messages import Failure, Job
from bncompare.training import Dataset

JOB = Job(0, load_experiment(CONFIGS / "smoke.yaml").runs[0], None)


@pytest.mark.parametrize("interruption", [SystemExit(143), KeyboardInterrupt()], ids=repr)
def test_an_interruption_is_no_failure(interruption: BaseException) -> None:
    """A signal in the middle of `torch.save`, which then says that its file is not whole, ends training."""

    def interrupted(run: RunConfig) -> Dataset:
        try:
            raise interruption
        finally:
            raise RuntimeError("unexpected pos 46 vs 0")

    with pytest.raises(type(interruption)):
        list(train_job(JOB, interrupted, torch.device("cpu")))


def test_an_error_is_a_result() -> None:
    """Whatever went wrong, the other runs go on."""

    def failing(run: RunConfig) -> Dataset:
        try:
            return {}["train"]  # type: ignore[no-any-return]
        except KeyError:
            raise RuntimeError("no data") from None

    *_, last = train_job(JOB, failing, torch.device("cpu"))
    assert isinstance(last, Failure)
    assert last.message == "RuntimeError: no data"
