"""Runs, as `train` and `load_runs` return them: to be looked at, selected, and put into a table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bncompare.config import Claim, flatten, keys_called, selects
from bncompare.errors import UserError
from bncompare.runs import LoadedRun, evaluations_of, experiments, measurements_of, read_runs, rows_of, with_names

if TYPE_CHECKING:
    import pandas


class Runs(Sequence[LoadedRun]):
    """Runs in the order of their config. A notebook shows the answer that they give."""

    def __init__(
        self,
        runs: Sequence[LoadedRun],
        warnings: Sequence[str] = (),
        *,
        stated: Sequence[Claim] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self._runs = list(runs)
        self.warnings = list(warnings)
        """of folders that could not be read"""
        self.stated = list(stated)
        """the claims of the config as it is now, beside those that the runs hold"""
        self.notes = list(notes)
        """what was decided after how many seeds"""

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> LoadedRun: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "LoadedRun | Runs":
        return self._with(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __repr__(self) -> str:
        experiments = ", ".join(dict.fromkeys(run.experiment for run in self))
        return f"<{len(self)} run{'s' * (len(self) != 1)}: {experiments}>"

    def _repr_html_(self) -> str:
        """The answer of each experiment, as the report gives it; of runs that have none a table of them."""
        from bncompare.report import answers_html, chapters

        is_evaluated = any(run.metrics["step"] for run in self)
        return answers_html(chapters(self, stated=self.stated) if is_evaluated else [], self, self.notes)

    @property
    def experiments(self) -> "dict[str, Runs]":
        """The runs of each experiment by its title; of other settings in the same folder they are another one."""
        return {found.title: self._with(found.runs) for found in experiments(self._runs)}

    def select(self, **settings: Any) -> "Runs":
        """The runs that have all of these: `select(norm="batch", lr=0.1)`, `select(seed=[0, 1])`.

        A setting is called by its dotted key (`**{"model.norm.eps": 1e-3}`) or the last word of it; `variant` is the
        label or the name of a variant, `seed`, `status` and `experiment` are those of the run. A list stands for any
        of its values, a mapping for what has these options. Raises UserError for a name that is no setting.
        """
        wanted = {name: _key(name) for name in settings}
        chosen = [run for run in self if all(_has(run, key, settings[name]) for name, key in wanted.items())]
        return self._with(chosen)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row per run, evaluation and metric, as `bncompare export` writes them."""
        return rows_of(self)

    def frame(self, *, diagnostics: bool = False) -> "pandas.DataFrame":
        """A row per run and evaluation, a column per metric; or one per run, evaluation, layer and quantity.

        Both have experiment, variant (the label), seed, status, the settings that variants set by dotted key, epoch
        and step. Test metrics stand at the best and the last evaluation. Raises ImportError without pandas.
        """
        return data_frame("Runs.frame()", measurements_of(self) if diagnostics else evaluations_of(self))

    def _with(self, runs: Sequence[LoadedRun]) -> "Runs":
        return Runs(runs, self.warnings, stated=self.stated)


_OF_RUN = ("seed", "status", "experiment", "variant")


def _key(name: str) -> str:
    """The dotted key of a setting, or what a run has beside them. Raises UserError."""
    if name in _OF_RUN or "." in name:
        return name
    keys = keys_called(name, nearly=False)
    if len(keys) != 1:
        hint = f"; did you mean {' or '.join(keys)}?" if keys else ""
        hint = hint or f"; valid: {', '.join(_OF_RUN)}, and keys of configs such as norm, lr, training.optimizer.lr"
        raise UserError(f"{name}: is no setting of a run{hint}")
    return keys[0]


def _has(run: LoadedRun, key: str, wanted: Any) -> bool:
    """Whether a run has a value, or one of a list of them."""
    values = wanted if isinstance(wanted, list | tuple | set | range) else [wanted]
    if key == "variant":
        return run.label in values or run.variant in values
    if key in _OF_RUN:
        return getattr(run, key) in values
    own = flatten(run.config)
    return (key in own and own[key] == wanted) or any(selects({key: value}, run.config) for value in values)


def load_runs(*paths: "str | PathLike[str]") -> Runs:
    """All runs at or below some folders.

    Raises UserError for no path, and for one that does not exist, holds no run, or is not a path at all.
    """
    if not paths:
        raise UserError("load_runs() needs a folder of runs, as load_runs('runs')")
    for path in paths:
        if not isinstance(path, str | PathLike):
            raise UserError(f"{path!r}: is not a path; load_runs takes each as an argument of its own")
    runs, warnings = read_runs([Path(path) for path in paths])
    return Runs(with_names(runs), warnings)


def data_frame(what: str, rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Rows as a DataFrame. Raises ImportError without pandas, which bncompare does not install."""
    try:
        import pandas
    except ImportError:
        raise ImportError(f"{what} needs pandas: pip install pandas") from None
    return pandas.DataFrame.from_records(list(rows))
