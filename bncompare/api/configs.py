"""Configs as people name them: a file, a mapping as the YAML would be, or a preset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bncompare.errors import UserError

if TYPE_CHECKING:
    from bncompare.config import Experiment

    Config = str | Path | Mapping[str, Any]


def shipped_configs(folder: Path | None = None) -> dict[str, Path]:
    """The shipped configs by name: in an installed package, beside it in a checkout, or in another folder."""
    package = Path(__file__).parents[1]
    presets = package / "presets" if (package / "presets").is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted((folder or presets).rglob("*.yaml"))}


def preset_called(name: str, presets: Mapping[str, Path], what: str = "preset") -> Path:
    """The preset of a name, or the only one that begins so; raises UserError."""
    begin = [preset for preset in presets if preset.startswith(name)]
    if name in presets or len(begin) == 1:
        return presets[name if name in presets else begin[0]]
    if begin:
        raise UserError(f"{name}: which {what}? {', '.join(begin)}")
    from bncompare.config import did_you_mean

    hint = did_you_mean(name, presets) or "; `bncompare init` lists those there are"
    raise UserError(f"{name}: no such {what}{hint}")


def config_called(path: Path, presets: Mapping[str, Path]) -> Path:
    """A config as it was named: a file, or else a preset. Raises UserError for what looks like one and is none."""
    is_name = path.name == str(path) and not path.suffix and path.name.isprintable()
    if not is_name or path.exists():
        return path
    try:
        return preset_called(str(path), presets)
    except UserError as error:
        message = str(error).replace("no such preset", "no such file, and no preset of this name", 1)
        raise UserError(message) from None


def experiments_of(
    configs: "Sequence[Path | Mapping[str, Any]]", overrides: Sequence[str] = (), **options: Any
) -> "list[Experiment]":
    """Every config, or UserError with every problem of every config; the options are those of `load_experiment`."""
    from bncompare.config import load_experiment

    experiments, problems, names = [], list[str](), dict[str, object]()
    for source in configs:
        try:
            experiment = load_experiment(source, overrides=overrides, **options)
            if experiment.name in names:
                raise UserError(f"{source}: name: {experiment.name!r} is also that of {names[experiment.name]}")
            names[experiment.name] = source
            experiments.append(experiment)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return experiments
