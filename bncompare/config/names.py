"""The names that people use for a variant, and for what a config calls by one word."""

from typing import Any

from bncompare.config.keys import SHORTHANDS, key_path, lookup, made_label, parts_of
from bncompare.config.model import MODELS
from bncompare.errors import printable
from bncompare.norms import name_of
from bncompare.options import option_words

_PROPER_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "random_regression": "random regression",
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
}


def proper_name(name: str) -> str:
    """Of a model, a dataset or an optimizer: `LeNet`, `Fashion-MNIST`, `SGD`."""
    model = MODELS.get(name)
    return (model.title if model else _PROPER_NAMES.get(name)) or name


def norm_name(config: dict[str, Any], settings: dict[str, Any]) -> str:
    """Of the norm in a resolved config, if the settings are about it; else nothing."""
    set_keys = [key for key in settings if f"{key}.".startswith("model.norm.")]
    norm = lookup(config, "model.norm") or settings.get("model.norm")
    return name_of(norm, [key.removeprefix("model.norm.") for key in set_keys]) if set_keys else ""


def kind_label(norm: Any) -> str:
    """The label of a variant that is told by its norm alone: `batch`, `weight_standardization + group`."""
    return " + ".join(str(part.get("kind")) for part in parts_of(norm)) if isinstance(norm, dict) else ""


def setting_words(key: str, value: Any) -> str:
    """A setting as people say it: `lr 0.1`, `adam`, `sgd lr 0.1`."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(setting_words(name, item) for name, item in value.items())
    if isinstance(value, list) and key_path(key) in SHORTHANDS:
        return " + ".join(setting_words(key, part) for part in value)
    return option_words(key, value)


def variant_name(config: dict[str, Any]) -> str:
    """Of the variant of a resolved config, such as `BatchNorm, lr 0.1`; a label that the config gives it wins."""
    label, settings = config["variant"]["label"], config["variant"].get("settings") or {}
    if not settings and label == kind_label(lookup(config, "model.norm")):
        return name_of(lookup(config, "model.norm"))
    if label != made_label(settings):
        return str(label)
    others = {key: value for key, value in settings.items() if not f"{key}.".startswith("model.norm.")}
    words = [norm_name(config, settings), *(setting_words(key, value) for key, value in others.items())]
    name = ", ".join(filter(None, words))
    return name if name and printable(name) == name else str(label)
