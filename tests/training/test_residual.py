"""A model of somebody else, with sums of layers, in everything that a run goes through."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from kit import ROOT, call, content, run_of
from torch import Tensor, nn

from bncompare.config import MODELS, Layer, ModelSection, RunConfig, layers, measured
from bncompare.execution import plan_runs, run_experiment
from bncompare.extras import draw, layer_table
from bncompare.norms import batch_norms
from bncompare.probes import PROBES
from bncompare.runs import RunStore
from bncompare.training import Datasets, build_model
from bncompare.training.statistics import set_population_statistics

EXAMPLE = ROOT / "examples" / "bncompare-resnet"
MODEL = "model={name: resnet, channels: [4, 8], blocks: 1}"
SMALL = ["data.resize=null", "data.train_size=32", "data.validation=10", "training.batch_size=16"]
ALL = "{landscape: [0.5, 4], eval_stats: [batch, population], one_at_a_time: 5, " + ", ".join(
    f"{key}: true"
    for probe in PROBES
    for key, field in list(probe.model_fields.items())[:1]
    if field.annotation is bool
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The model of the example, as if its package were installed."""
    if "resnet" in MODELS:
        yield
        return
    monkeypatch.syspath_prepend(EXAMPLE)
    MODELS.add(importlib.import_module("bncompare_resnet").ResNet)
    yield
    del MODELS["resnet"]
    del sys.modules["bncompare_resnet"]


def resnet(norm: str, *overrides: str) -> RunConfig:
    return run_of("smoke.yaml", *SMALL, MODEL, *overrides, norm=norm)


def test_the_sum_comes_before_the_activation() -> None:
    """relu(F(x) + x), with a 1×1 convolution on the shortcut where the shape changes; He et al. 2016, §3."""
    run = resnet("none", "model.bias=always")
    model, x = build_model(run).eval(), torch.rand(3, 1, 8, 8)
    of = model.state_dict()

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(x, of[f"{name}.conv.weight"], of[f"{name}.conv.bias"], stride, padding)

    h = conv("stem", x).relu()
    h = (conv("stage.0.0.second", conv("stage.0.0.first", h).relu()) + h).relu()
    deeper = conv("stage.1.0.second", conv("stage.1.0.first", h, stride=2).relu())
    h = (deeper + conv("stage.1.0.shortcut", h, stride=2, padding=0)).relu()
    expected = F.linear(h.mean((2, 3)), of["output.linear.weight"], of["output.linear.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("norm", ["none", "{kind: batch, placement: after}", "group", "weight", "spectral"])
def test_the_table_is_of_the_model_that_is_built(norm: str) -> None:
    """Shapes and numbers of parameters of every part are what torch builds and runs."""
    run = resnet(norm)
    model, seen = build_model(run).eval(), dict[str, tuple[tuple[int, ...], int]]()
    for name, module in model.named_modules():
        if not isinstance(module, nn.Sequential) and "parametrizations" not in name:
            number = sum(parameter.numel() for parameter in module.parameters())
            module.register_forward_hook(
                lambda _module, _inputs, output, name=name, number=number: seen.update(
                    {name: (tuple(output.shape[1:]), number)}
                )
            )
    model(torch.zeros(2, 1, 8, 8))
    assert {row.name: (row.output_shape, row.parameters) for row in layer_table(run)} == seen


def test_what_enters_a_shortcut_lies_as_it_reads() -> None:
    """Where channels lie last, as this norm leaves them, the gradient of its convolution may crash."""
    model = build_model(resnet("channel_layer"))
    shortcut, entered = model.get_submodule("stage.1.0.shortcut.conv"), []
    shortcut.register_forward_hook(lambda _module, inputs, output: entered.append((inputs[0], output)))
    model(torch.rand(3, 1, 8, 8))
    ((given, output),) = entered
    assert not given.is_contiguous()
    assert output.grad_fn._saved_input.is_contiguous()
    assert str(shortcut).startswith("Conv2d(")


def test_a_norm_changes_no_initial_weight() -> None:
    """Weights are drawn by the name of their layer."""
    plain, normed = (build_model(resnet(norm)).state_dict() for norm in ("none", "batch"))
    weights = [name for name in plain if name.endswith(".conv.weight")]
    assert len(weights) == 6
    assert all(torch.equal(plain[name], normed[name]) for name in weights)


def test_population_statistics_on_both_ways() -> None:
    """Those of the norm on the shortcut are of what enters it too."""
    run = resnet("batch")
    model, split = build_model(run), Datasets(None).of(run).train
    set_population_statistics(model, split)
    block = model.get_submodule("stage.1.0")
    entered: list[Tensor] = []
    block.get_submodule("shortcut.norm").register_forward_pre_hook(lambda _module, inputs: entered.append(inputs[0]))
    model.eval()(split.batch(split.rows)[0])
    norm = block.get_submodule("shortcut.norm")
    torch.testing.assert_close(norm.running_mean, entered[0].mean((0, 2, 3)))
    assert len(batch_norms(model)) == 6


@pytest.mark.parametrize(
    ("norm", "settings"),
    [
        ("batch", ["training.trainable=random"]),
        ("{kind: batch, layers: [stem, stage.1.0.shortcut], eval_stats: population}", []),
        ("{kind: weight_standardization, scaled: true}", ["model.activation=tanh"]),
    ],
)
def test_probes_and_resumption(norm: str, settings: list[str], tmp_path: Path) -> None:
    """All probes record what they said they would, a sum's activation among it; and a run that is interrupted and
    goes on gives the bytes of one that was not."""
    run = resnet(norm, *settings, "training.epochs=2", f"diagnostics={ALL}}}", "training.early_stopping=null")
    wanted = measured(run)
    assert ("stage.0.0.out", "output std") in wanted
    assert not [quantity for layer, quantity in wanted if layer == "stage.0.0.second" and "output" in quantity]
    for root, is_interrupted in ((tmp_path / "straight", False), (tmp_path / "resumed", True)):
        if is_interrupted:
            events = run_experiment(plan_runs([run], RunStore(root)), data_dir=None)
            next(event for event in events if event.record)
            events.close()  # type: ignore[attr-defined]
        for _ in run_experiment(plan_runs([run], RunStore(root)), data_dir=None):
            pass
    assert content(tmp_path / "resumed") == content(tmp_path / "straight")
    (table,) = tmp_path.glob("straight/*/*/diagnostics.csv")
    rows = [tuple(line.split(",")[2:4]) for line in table.read_text().splitlines()[1:]]
    assert {row for row in rows if "[" not in row[1]} == set(wanted)


def test_the_drawing_has_the_shortcuts(tmp_path: Path) -> None:
    """An arrow for each way into a sum, each with the shape of what goes there."""
    run = resnet("batch")
    draw(run, layer_table(run), tmp_path / "model.dot")
    arrows = [
        line.split(" [")[0].strip() for line in (tmp_path / "model.dot").read_text().splitlines() if "->" in line
    ]
    assert '"stem.activation" -> "stage.0.0.out.sum"' in arrows
    assert len(arrows) == 1 + len(layer_table(run)) + len(run.model.channels)  # type: ignore[attr-defined]


def test_in_commands(tmp_path: Path) -> None:
    """It is a choice where models are, may be planned without training, and says for which shapes it is none."""
    config = EXAMPLE / "resnet.yaml"
    assert call("train", config, "--dry-run", "--runs", tmp_path).code == 0
    for settings, message in (
        (["model.name=resnt"], "model.name: must be one of mlp, lenet, resnet, not 'resnt'; did you mean 'resnet'?"),
        (["model.channels=[]"], "model.channels: must not be empty"),
        (
            ["data={name: random_regression}"],
            "model.name: resnet cannot take inputs of 10: stem needs images, (channels, height, width); use mlp",
        ),
        (
            ["compare.model.norm=[{kind: batch, layers: [stage.0.0.out]}]"],
            "'stage.0.0.out' is not a layer of this model; valid: stem, stage.0.0.first, stage.0.0.second",
        ),
    ):
        ended = call("train", config, "--dry-run", *(word for setting in settings for word in ("--set", setting)))
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err


def test_a_plan_that_is_none() -> None:
    """A mistake in a plan is a problem of the config, which names the layer."""

    class Wrong(ModelSection):
        name: Literal["wrong"] = "wrong"
        mistake: str

        def layers(self, input_shape: tuple[int, ...], num_outputs: int) -> list[Layer]:
            a = self.conv("a", input_shape, 4, 3)
            b = self.conv("b", a, 4, 3)
            output = self.output(b, num_outputs)
            if self.mistake == "sum":
                return [a, b, self.sum("c", [a, b]), output]
            return {"twice": [a, a, b, output], "order": [b, a, output], "end": [a, b]}[self.mistake]

    for mistake, message in (
        ("twice", "wrong.layers has a twice, or before a layer that it follows"),
        ("order", "wrong.layers has b twice, or before a layer that it follows"),
        ("end", "wrong.layers does not end with self.output(…)"),
        ("sum", "wrong cannot take inputs of 1×8×8: c is a sum of layers of one shape, not 4×6×6 and 4×4×4"),
    ):
        assert list(Wrong(mistake=mistake).problems((1, 8, 8))) == [(("name",), message)]


def test_layers_say_their_own_sizes() -> None:
    """Kernels, strides, padding and the pooling of the whole map; images need not be square."""
    model = resnet("none").model
    planned = {layer.name: layer for layer in model.layers((3, 9, 6), 7)}
    assert planned["stage.1.0.first"].shape == (8, 5, 3)
    assert planned["stage.1.0.shortcut"].num_weights == 4 * 8
    assert planned["stage.1.0.out"].output_shape == (8, 1, 1)
    assert (planned["output"].in_features, planned["output"].out_features) == (8, 7)
    assert planned["stage.1.0.out"].follows == ("stage.1.0.second", "stage.1.0.shortcut")
    assert [layer.name for layer in layers(resnet("none"))] == list(planned)
