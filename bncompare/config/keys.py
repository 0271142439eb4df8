"""Dotted keys such as `training.optimizer.lr`: paths, values, what stands for what."""

from collections.abc import Collection
from typing import Any

KeyPath = tuple[str | int, ...]
Problem = tuple[KeyPath, str]  # a key, and what is wrong with it


def dotted(path: KeyPath) -> str:
    """`("compare", 0, "label")` as `compare[0].label`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            word = key if key.isprintable() and key else repr(key)
            text += f".{word}" if text else word
    return text


# A scalar at one of these paths stands for a mapping with that one key.
SHORTHANDS: dict[KeyPath, str] = {
    ("model", "norm"): "kind",
    ("model", "norm", "weight_norm"): "kind",
    ("model", "init"): "kind",
    ("model", "dropout"): "p",
    ("training", "scheduler"): "name",
    ("training", "sampler"): "name",
}


def selects(selector: dict[str, Any], resolved: dict[str, Any]) -> bool:
    """Whether a claim's `variant:` or `versus:` is about the run with this resolved config.

    Keys are dotted; `label` is the variant's; a scalar stands for the `kind` (or …) of a mapping.
    """
    for key, wanted in selector.items():
        value: Any = resolved
        for part in ["variant", "label"] if key == "label" else key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not _is(value, wanted, SHORTHANDS.get(tuple(key.split(".")), "")):
            return False
    return True


def _is(value: Any, wanted: Any, short: str) -> bool:
    """Whether a value of a resolved config is the wanted one, of which a mapping may leave out parts."""
    if not isinstance(value, dict):
        return bool(value == wanted)
    if isinstance(wanted, dict):
        return all(_is(value.get(part), inner, short) for part, inner in wanted.items())
    parts = parts_of(value)
    if isinstance(wanted, list):
        return len(wanted) == len(parts) and all(any(_is(part, one, short) for part in parts) for one in wanted)
    return len(parts) == 1 and bool(value.get(short) == wanted)


def parts_of(norm: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a resolved norm the norm of the weight that is there too, and itself."""
    of_weight = norm.get("weight_norm")
    if not isinstance(of_weight, dict) or of_weight.get("kind") == "none":
        return [norm]
    return [of_weight, {key: value for key, value in norm.items() if key != "weight_norm"}]


def key_path(key: str) -> KeyPath:
    """`model.norm` as a path; below `compare` and `tune.over` the dots belong to the key."""
    for section in ("compare", "tune.over"):
        if key.startswith(f"{section}."):
            return (*section.split("."), key.removeprefix(f"{section}."))
    return tuple(key.split("."))


def setting_label(key: str, value: Any) -> str:
    """`batch` for a name, `lr=0.1` for other values, `group groups=4` for a kind with options."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(setting_label(k, v) for k, v in value.items())
    if isinstance(value, list) and key_path(key) in SHORTHANDS:
        return " + ".join(setting_label(key, part) for part in value)
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{key.split('.')[-1]}={text}"


def setting_value(key: str, value: Any) -> str:
    """The same without the key."""
    return setting_label(key, value).removeprefix(f"{key.split('.')[-1]}=")


MAX_LABEL_LENGTH = 120


def made_label(settings: dict[str, Any]) -> str:
    """The label of a variant whose config gives it none."""
    return " ".join(setting_label(key, value) for key, value in settings.items())[:MAX_LABEL_LENGTH]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


def without(flat: dict[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    """The values by dotted key but for some keys and what is below them."""
    keys, sections = frozenset(left_out), tuple(f"{key}." for key in left_out)
    return {key: value for key, value in flat.items() if key not in keys and not key.startswith(sections)}


def lookup(config: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; None if there is none."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
