"""Mutated configs: each loads, or is refused with printable lines, in bounded time; anything else is a bug.

    python tests/fuzz.py --mutations 2000 --seed 0
    python tests/fuzz.py --seed 0 --replay 17

A mutation is a function of the seed and its number: --replay prints that one, and loads it without a net.
"""

import argparse
import copy
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from bncompare.config.expand import load_experiment
from bncompare.config.yaml import dump_yaml, load_yaml
from bncompare.errors import UserError, problem_lines
from bncompare.execution.memory import needed

CONFIGS = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))
MAX_SECONDS = 10  # for one config; a slow machine included
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 10**6, 10**12, 10**13, 2**63, -(2**63), 10**21),
    *(0.0, -0.0, 0.5, 1.0, -1.5, 1e-320, 1e30, 1e38, 1e39, 1e300, -1e300, float("inf"), float("-inf"), float("nan")),
    *(
        *("", " ", "a", "none", "null", "no", "012", "1e3", "auto", "full", "test", "batch", "kind", "label"),
        *("name", "val/loss"),
    ),
    *(
        *("a\nb", "a\tb", "a ", "a\u200b", "\u00a0", "e\u0301", "\u202e", "\x1b[2J", "\x85", "\ufeff"),
        *("\U0001f600", "\u3164"),
    ),
    *(".", "..", "../x", "/", "a/b", "{", "%s", "x" * 121, "x" * 5000, "diagnostics/*/x", "diagnostics/a\nb/c"),
    *(
        *([], {}, [[]], [{}], [None], [0, 0], [1, 2, 3], ["a", "a"], {"a": 1}, {"": None}),
        *({"kind": "batch"}, {"kind": []}),
    ),
    *(
        *({"name": "step"}, {"name": {}}, {"label": "a"}),
        *([{"label": "a"}, {"label": "b"}], {"model.norm": ["none", "batch"]}),
    ),
    *([0] * 3000, {f"k{i}": i for i in range(300)}, {"epoch": 1, "step": 1}, {"a\nb": "c"}, {"model.norm": ["a\nb"]}),
]
ODD_KEYS = [
    *("", " ", "a", "a.b", ".", "..", "kind", "name", "label", "compare", "variant", "a\nb", "\u200b"),
    *("model.norm", "x" * 300),
]
DAMAGE = [
    *("\t", "\0", "\x1b", "\r", "\n", "\n\n", ":", ": ", "- ", "[", "]", "{", "}", "'", '"', "&a ", "*a", "!!int "),
    *("#", " #"),
]
DAMAGE += [
    *("---\n", "...\n", "%YAML 1.1\n", "|", ">", "? ", "~", "012", "\ufeff", "\ud800", "\u2028", "é", ",", "<<: "),
    *(" " * 40, "\\u000a"),
]


def containers(data: Any) -> list[Any]:
    """Every mapping and list that is not empty, from the outermost in."""
    if not isinstance(data, dict | list) or not data:
        return []
    values = data.values() if isinstance(data, dict) else data
    return [data, *(inner for value in values for inner in containers(value))]


def mutate_data(data: dict[str, Any], rng: random.Random, texts: dict[str, Any]) -> None:
    """Drop, double, rename, swap or replace something, anywhere."""
    if not (choices := containers(data)):
        return
    container = rng.choice(choices)
    key = rng.choice([*container] if isinstance(container, dict) else range(len(container)))
    changes = ["drop", "replace", "replace", "nudge", "nudge", "nudge", "rename", "double", "graft", "wrap"]
    change, value = rng.choice(changes), container[key]
    if change == "drop":
        del container[key]
    elif change == "replace":
        container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    elif change == "nudge":
        if isinstance(value, int | float):
            container[key] = rng.choice(
                [value + 1, value * 2, type(value)(value / 2), -value, float(value), value * 10**12]
            )
    elif change == "rename":
        if isinstance(container, dict):
            new = rng.choice([*ODD_KEYS, str(key)[:-1], f"{key}s", str(key).upper()])
            container[new] = container.pop(key)
    elif change == "double":
        # Of a mapping under another name; of a list once more.
        if isinstance(container, list):
            container.append(copy.deepcopy(value))
        else:
            container[rng.choice(ODD_KEYS)] = copy.deepcopy(value)
    elif change == "graft":
        other = rng.choice(containers(rng.choice([*texts.values()])))
        container[key] = copy.deepcopy(rng.choice([*(other.values() if isinstance(other, dict) else other)]))
    else:
        container[key] = rng.choice([[value], {str(key): value}, [value, copy.deepcopy(value)]])


def mutate_text(text: str, rng: random.Random) -> str:
    """Damage the text: insert, cut, repeat or swap a piece of it."""
    start, size = rng.randrange(len(text) + 1), rng.choice([1, 2, 10, 100])
    lines = text.splitlines(keepends=True)
    change = rng.choice(["insert", "insert", "cut", "end", "repeat line", "swap lines", "indent", "character"])
    if change == "insert":
        return text[:start] + rng.choice(DAMAGE) * rng.choice([1, 1, 1, 50]) + text[start:]
    if change == "cut":
        return text[:start] + text[start + size :]
    if change == "end":
        return text[:start]
    if change == "character":
        return text[:start] + chr(rng.choice([rng.randrange(128), rng.randrange(0x3000), 0xFFFE])) + text[start + 1 :]
    if not lines:
        return text
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    if change == "swap lines":
        lines[i], lines[j] = lines[j], lines[i]
    else:
        lines.insert(i, ("  " if change == "indent" else "") + lines[i])
    return "".join(lines)


def mutation(seed: int, number: int, configs: dict[str, Any]) -> tuple[str, bytes]:
    """The name of a config, and its content after one to four changes."""
    rng = random.Random(f"{seed} {number}")
    name = rng.choice([*configs])
    data = copy.deepcopy(configs[name])
    of_text = rng.randrange(3) == 0
    for section in ("claims", "compare"):  # which most changes leave without a variant
        if rng.randrange(2) and not of_text:
            data.pop(section, None)
    for _ in range(0 if of_text else rng.choice([1, 1, 2, 4])):
        mutate_data(data, rng, configs)
    text = dump_yaml(data)
    for _ in range(rng.choice([1, 1, 2, 4]) if of_text else 0):
        text = mutate_text(text, rng)
    return name, text.encode(errors="surrogatepass")


def load_all(path: Path) -> int:
    """Load a config, and what `train` would write of its first run, and --smoke's; the number of runs."""
    experiment = load_experiment(path)
    written = path.with_name("written.yaml")
    for first in (experiment.runs[0], load_experiment(path, smoke=True).runs[0]):
        needed(first)
        written.write_text(first.to_yaml(), encoding="utf-8")
        (again,) = load_experiment(written).runs
        if again.digest != first.digest:
            raise ValueError(f"{first.digest} is read back as {again.digest}")
    if odd := [warning for warning in experiment.warnings if not warning.isprintable()]:
        raise ValueError(f"not printable: {odd[0]!r}")
    return len(experiment.runs)


def problem_of(load_it: Callable[[], object]) -> str | None:
    """What is wrong with the way a config loads or is refused; None if nothing is."""
    try:
        load_it()
    except UserError as error:
        if not error.problems:
            return "refused without a word"
        for line in (*error.problems, *problem_lines(error.problems)):
            if not line.isprintable() or not line.strip():
                return f"not printable: {line!r}"
    except Exception:
        return traceback.format_exc()
    return None


def out_of_time(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError(f"took more than {MAX_SECONDS} s")


def unchanged(folder: Path) -> dict[str, Any]:
    """The configs that are mutated, by name: those of the repository, and one with a file of data in a folder."""
    path = folder / "data.npz"
    np.savez(path, x=np.zeros((40, 3), dtype=np.uint8), y=np.arange(40) % 4)
    config = copy.deepcopy(load_yaml(Path(__file__).parents[1] / "configs" / "smoke.yaml").data)
    config["data"] = {"name": "npz", "path": str(path), "test": 0.2, "validation": 8, "scaling": "standardize"}
    config["model"] = {"name": "mlp", "hidden": [4]}
    return {path.stem: load_yaml(path).data for path in CONFIGS} | {"npz": config}


def fuzz(mutations: int, seed: int, folder: Path) -> list[str]:
    """Load mutated configs; the problems found, each with the number of its mutation."""
    configs = unchanged(folder)
    found = []
    before = signal.signal(signal.SIGALRM, out_of_time)
    try:
        for number in range(mutations):
            name, content = mutation(seed, number, configs)
            path = folder / "config.yaml"
            path.write_bytes(content)
            signal.alarm(MAX_SECONDS)
            problem = problem_of(lambda path=path: load_all(path))
            signal.alarm(0)
            if problem is not None:
                found.append(f"mutation {number} of seed {seed} ({name}): {problem}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return found


def main() -> int:
    """The command line; exit code 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000, help="how many (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--replay", type=int, metavar="N", help="print mutation N and load it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.replay is not None:
            configs = unchanged(folder)
            name, content = mutation(options.seed, options.replay, configs)
            print(f"# {name}\n{content.decode(errors='replace')}")
            path = folder / "config.yaml"
            path.write_bytes(content)
            print(f"{load_all(path)} runs")
            return 0
        started = time.perf_counter()
        found = fuzz(options.mutations, options.seed, folder)
    for problem in found:
        print(problem)
    print(f"{options.mutations} mutations, {len(found)} problems, {time.perf_counter() - started:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
