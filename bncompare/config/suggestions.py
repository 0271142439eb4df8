"""What somebody may have meant by a name: by what the field calls it, by its beginning, by a slip of the hand.

No suggestion is better than a wrong one: where two choices are as near, or another thing has the name, there is none.
"""

import re
from collections.abc import Iterable

MAX_WORD = 40  # characters; nobody slips into more

# What torch, papers and people call it: words without case, signs and `norm`, which `_bare` leaves out.
OTHER_NAMES = {
    "none": ("no", "off", "false", "null", "without", "plain", "vanilla", "nobn", "nonorm", "identity"),
    "identity": ("none", "linear"),
    "batch": ("bn", "syncbatch", "spatialbatch"),
    "layer": ("ln",),
    "group": ("gn",),
    "instance": ("in",),
    "local_response": ("lrn",),
    "spectral": ("sn",),
    "weight": ("wn",),
    "batch_renorm": ("brn",),
    "ghost_batch": ("gbn",),
    "filter_response": ("frn", "tlu"),
    "weight_standardization": ("ws", "weightstandardized", "standardizedweight"),
    "whitening": ("zca", "dbn", "decorrelatedbatch"),
    "iterative_whitening": ("iter", "itn"),
    "switchable": ("switch",),
    "dyt": ("dynamictanh",),
    "derf": ("dynamicerf",),
    "silu": ("swish",),
    "fashion_mnist": ("fmnist",),
    "mlp": ("fc", "dense", "multilayerperceptron"),
    "reduce_on_plateau": ("plateau", "reducelronplateau"),
    "xavier_uniform": ("glorotuniform",),
    "xavier_normal": ("glorotnormal",),
    "kaiming_uniform": ("heuniform",),
    "kaiming_normal": ("henormal",),
    "lr": ("learningrate", "lrate", "alpha", "eta"),
    "weight_decay": ("wd", "l2"),
    "batch_size": ("bs", "batch", "minibatchsize"),
    "eps": ("epsilon",),
    "hidden": ("hiddensizes", "hiddenlayers", "layersizes", "units", "width"),
    "data": ("dataset",),
    "seeds": ("randomseed", "randomstate"),
    "cuda": ("gpu",),
}
# One letter from a choice, and something else.
OTHER_THINGS = {"prelu", "relu6", "elu", "kmnist", "emnist", "qmnist", "nadam", "radam"}


def called(word: object, choices: Iterable[str]) -> list[str]:
    """The choices that have this name, or are called so elsewhere."""
    wanted = "null" if word is None else _bare(word)
    choices = list(choices)
    return [choice for choice in choices if _bare(choice) == wanted] or [
        choice for choice in choices if wanted in OTHER_NAMES.get(choice, ())
    ]


def suggestion(word: object, choices: Iterable[str]) -> str | None:
    """The choice that was meant; None where that cannot be told."""
    choices = list(dict.fromkeys(choices))
    meant, wanted = called(word, choices), _bare(word)
    if not meant and 2 < len(wanted) <= MAX_WORD and wanted not in OTHER_THINGS:
        meant = [c for c in choices if _bare(c).startswith(wanted) or wanted in map(_bare, c.split("_"))]
        slips = 1 if len(wanted) < 8 else 2
        meant = meant or [c for c in choices if distance(wanted, _bare(c)) <= slips]
    return meant[0] if len(meant) == 1 else None


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """`; did you mean 'X'?`, or nothing."""
    meant = suggestion(word, choices)
    return f"; did you mean {meant!r}?" if meant else ""


def _bare(name: object) -> str:
    """`nn.BatchNorm2d`, `batch_norm` and `Batch normalization` as `batch`."""
    word = re.sub(r"[^a-z0-9]", "", re.sub(r"^(torch\.)?nn\.", "", str(name)).lower())
    return re.sub(r"(?<=.)(?<!re)norm(ali[sz](ation|ed))?([123]d)?$", "", word)


def distance(a: str, b: str) -> int:
    """Letters to insert, leave out, replace, or swap with the next, to get from one word to the other."""
    if abs(len(a) - len(b)) > 2:
        return 3
    before, row = list[int](), list(range(len(b) + 1))
    for i, letter in enumerate(a):
        last, row = row, [i + 1]
        for j, other in enumerate(b):
            cost = min(row[j] + 1, last[j + 1] + 1, last[j] + (letter != other))
            if i and j and letter == b[j - 1] and a[i - 1] == other:
                cost = min(cost, before[j - 1] + 1)
            row.append(cost)
        before = last
    return row[-1]
