"""The config that trains an experiment again, put together from its runs."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from bncompare.config import lookup
from bncompare.runs import LoadedRun, compared_keys, tuning_seeds


def experiment_config(runs: Sequence[LoadedRun]) -> dict[str, Any]:
    """The config of the whole experiment, put together from its runs; training it gives the same run folders."""
    keys = compared_keys(runs)
    first = {
        run.label: _without_folder(run.config)
        for run in sorted(runs, key=lambda run: run.variant_index, reverse=True)
    }
    config = {key: value for key, value in _without_folder(runs[0].config).items() if key != "variant"}
    seeds, chose = {run.seed for run in runs}, tuning_seeds(runs)
    config["seeds"] = sorted(seeds & chose or seeds)
    if seeds & chose and seeds - chose:
        config["judge_seeds"] = sorted(seeds - chose)
    if taken := {name: version for run in runs for name, version in run.config.get("plugins", {}).items()}:
        config["plugins"] = taken
    if keys:
        config["compare"] = [
            {"label": variant} | {key: lookup(resolved, key) for key in keys}
            for variant, resolved in reversed(first.items())
        ]
    return config


def _without_folder(config: dict[str, Any]) -> dict[str, Any]:
    """Without the place of the data on the machine of the run: of a file its name."""
    data = config.get("data")
    if not isinstance(data, dict):
        return config
    data = {key: value for key, value in data.items() if key != "dir"}
    return config | {"data": data | {"path": PurePath(str(data["path"])).name} if "path" in data else data}
