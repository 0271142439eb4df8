"""What `explain` found, as a text to read, and as questions."""

from typing import Any

import numpy as np

from bncompare.errors import UserError
from bncompare.extras.by_hand import Line
from bncompare.options import option_words
from bncompare.report import print_text

SYMBOLS = {"threshold": "τ", "alpha": "α", "shift": "s"}


def print_explanation(report: dict[str, Any]) -> None:
    """What `explain` found, as a text to read."""
    shape = tuple(report["shape"])
    print(f"{report['kind']}: {report['formula']}")
    if report["kind"] == "none":
        print_text("what enters leaves as it is: no statistics, no γ and β, the same in training and evaluation")
        return
    normalizes = report["statistics_over"] != "none"
    before_scaling = "normalized x̂" if normalizes else "before γ and β"
    print(f"statistics over {report['statistics_over']}" if normalizes else "no statistics: each value by itself")
    if report.get("axes"):
        axes = ", ".join(map(str, report["axes"]))
        values = " or ".join(map(str, report["values_averaged"]))
        print(f"here: axes {axes} of a tensor of shape {shape}, {values} values at a time")
    if report["options"]:
        print_text(f"options: {_options(report)}")
    for name, symbol in (("gamma", "γ"), ("beta", "β")):
        if report.get(name) is not None:
            _print_array(symbol, report[name])
    for name, value in report.get("learned", {}).items():
        _print_array(SYMBOLS.get(name, name.replace("_", " ")), value)
    for name in ("weight", "parameters", "normalized_weight", "singular_values"):
        if name in report:
            values = report[name]
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                _print_array(f"{name.replace('_', ' ')} {key}".strip(), value)
    for i, step in enumerate(report.get("steps", []), start=1):
        print(f"\ntraining step {i}")
        _print_array("input x", step["input"])
        for name, value in step["statistics"].items():
            _print_array(name.replace("_", " "), value)
        _print_array(before_scaling, step["normalized"])
        _print_array("output y", step["output"])
        for name in step.get("running", ()):
            _print_array(f"running {name}", step["running"][name])
            if "predicted" in step:
                _print_array("  by the update rule", step["predicted"][name])
        _print_by_hand("first value", step["by_hand"])
    if "backward" in report:
        _print_backward(report["backward"])
    if "evaluation" in report:
        print("\nevaluation, of the last input")
        if report["evaluation"]["output"] == report["steps"][-1]["output"]:
            print("  as in training")
            return
        _print_array(before_scaling, report["evaluation"]["normalized"])
        _print_array("output y", report["evaluation"]["output"])
    if "largest_difference_to_torch" in report:
        print(f"\nlargest difference between our formula and torch.nn: {report['largest_difference_to_torch']:.1e}")


def _options(report: dict[str, Any]) -> str:
    return ", ".join(option_words(name, value) for name, value in report["options"].items())


def _print_by_hand(title: str, lines: list[dict[str, Any]]) -> None:
    if lines:
        print(f"  {title}, by hand:")
    for line in lines:
        print_text(str(Line(**line)), "    ")


def _print_backward(gradients: dict[str, Any]) -> None:
    print("\nbackwards, through the last input in training: g = ∂L/∂x̂ = γ·∂L/∂y")
    print("  ∂L/∂x = (g − mean(g) − x̂·mean(x̂·g))/√(var + eps)")
    for name, symbol in (("by_y", "y"), ("by_x", "x"), ("by_gamma", "γ"), ("by_beta", "β")):
        if name in gradients:
            _print_array(f"∂L/∂{symbol}", gradients[name])
    _print_by_hand("first value", gradients["by_hand"])
    print(f"  largest difference to torch's gradients: {gradients['largest_difference_to_torch']:.1e}")


def print_quiz(report: dict[str, Any]) -> None:
    """Three questions about the first training step, and at the end their answers; raises UserError."""
    lines = [Line(**line) for line in (report.get("steps") or [{"by_hand": []}])[0]["by_hand"]]
    asked = [line for line in lines if line.name in ("mean", "x̂")] + lines[-1:]
    if len(asked) < 3:
        raise UserError(f"--quiz: there is no rule to ask about: {report['formula']}")
    print(f"{report['kind']}: {report['formula']}")
    print_text(f"statistics over {report['statistics_over']}; {_options(report)}")
    for name, symbol in (("gamma", "γ"), ("beta", "β")):
        if report.get(name) is not None:
            _print_array(symbol, report[name])
    _print_array("input x", report["steps"][0]["input"])
    if "running" in report["steps"][0]:
        print("  running mean = 0, running var = 1 before this batch, the first of training")
    print("\nOf the first value of x, and what it is normalized with:")
    for i, line in enumerate(asked, start=1):
        print(f"  {i}. {line.name} = ?")
    print("\n" * 2 + "Answers")
    for i, line in enumerate(asked, start=1):
        print(f"  {i}. {line}")


def _print_array(name: str, values: Any) -> None:
    """`name = [numbers]`; of more than two axes a line for each example and channel, the rest in a row."""
    array = np.asarray(values)

    def line(row: Any) -> str:
        text = np.array2string(
            np.atleast_1d(row), precision=4, suppress_small=True, floatmode="fixed", sign=" ", max_line_width=10_000
        )
        return text.replace("-", "−")

    if array.ndim <= 1:
        print(f"  {name} = {line(array)}")
        return
    print(f"  {name} =")
    for index in np.ndindex(array.shape[: max(1, min(2, array.ndim - 1))]):
        print(f"    [{','.join(map(str, index))}] {line(array[index].ravel())}")
