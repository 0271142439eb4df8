"""`compare` and `plot`: a comparison that a notebook shows, with the claims that it was made for, and its figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bncompare.api.runs import Runs, data_frame
from bncompare.comparison import Ask, Comparison, Finding, MeasureComparison, Pair, one_experiment
from bncompare.errors import UserError
from bncompare.report import Chapter, answer_html, answer_of, chapters, claims_html, measured_cell
from bncompare.runs import LoadedRun

if TYPE_CHECKING:
    import pandas

    from bncompare.api.figures import Figures


class Claims(tuple[Finding, ...]):
    """The claims of an experiment, each with its verdict and the numbers that decide it."""

    __slots__ = ()

    def __repr__(self) -> str:
        lines = [f"{finding.outcome}: {finding.claim.statement}" for finding in self]
        return "\n".join(lines) or "<no claims>"

    def _repr_html_(self) -> str:
        return claims_html(self)

    def frame(self) -> "pandas.DataFrame":
        """A row per claim: statement, published, measured, verdict. Raises ImportError without pandas."""
        rows = [
            {
                "statement": finding.claim.statement,
                "published": finding.claim.published,
                "measured": measured_cell(finding),
                "verdict": finding.outcome,
            }
            for finding in self
        ]
        return data_frame("Claims.frame()", rows)


@dataclass(frozen=True, repr=False)
class ComparedRuns(Comparison):
    """A comparison with the runs it is of, for people: claims, tables, figures; a notebook shows the verdicts."""

    chapter: Chapter = field(kw_only=True)
    """what a report says of them"""

    def __repr__(self) -> str:
        return f"<comparison of {self.chapter.title}: {answer_of(self.chapter).sentence}>"

    def _repr_html_(self) -> str:
        return answer_html(self.chapter)

    @property
    def claims(self) -> Claims:
        """The claims that the runs hold, each held against them."""
        return Claims(self.chapter.findings)

    def plot(self, *metrics: str, x: Literal["epoch", "step"] = "epoch") -> "Figures":
        """`bncompare.plot` of the runs that were compared."""
        return plot(self, *metrics, x=x)

    def frame(self) -> "pandas.DataFrame":
        """A row per measure and pair of variants, and per variant that is in front of no pair.

        Columns: metric, measure; variant, n, mean, sd and versus, with their summary; difference (variant − versus,
        over the shared seeds) with the 95 % CI low and high; verdict, is_preliminary. Accuracies are fractions.
        Raises ImportError without pandas.
        """
        return data_frame("frame() of a comparison", [row for measure in self.measures for row in _rows(measure)])


def _rows(found: MeasureComparison) -> Iterator[dict[str, Any]]:
    for result in found.variants:
        summary = result.summary
        about = {
            "metric": found.metric.name,
            "measure": found.title,
            "variant": result.variant,
            "n": len(result.values),
            "mean": summary.mean if summary else None,
            "sd": summary.sd if summary else None,
        }
        pairs: list[Pair | None] = [pair for pair in found.pairs if pair.a == result.variant]
        for pair in pairs or [None]:
            gap = pair.paired.difference if pair and pair.paired else None
            yield about | {
                "versus": pair.b if pair else None,
                "difference": gap.mean if gap else None,
                "low": gap.low if gap else None,
                "high": gap.high if gap else None,
                "verdict": pair.verdict if pair else None,
                "is_preliminary": pair.is_preliminary if pair else None,
            }


def compare(
    runs: Sequence[LoadedRun],
    metric: str | Sequence[str] | None = None,
    *,
    at: Literal["best", "last"] | None = None,
    versus: str | None = None,
    threshold: float | None = None,
    window: int = 5,
    within: str | None = None,
) -> ComparedRuns:
    """Compare the variants of one experiment seed by seed, and hold its claims against its runs.

    Args:
        runs: what `train` or `load_runs` returns.
        metric: one or several, such as "test/accuracy"; by default those of the experiment's claims, or val/loss (or
            train/loss) without claims, and test/accuracy (or test/loss).
        at: the evaluation; by default the best, or the last where the best is chosen on the test set.
        versus: the variant that each is compared with alone, by its name or its label; with more than four variants
            that is by default the first without a norm.
        threshold: for the time to reach it.
        window: the evaluations over which stability is taken.
        within: a hyperparameter of a grid, such as training.batch_size, at each value of which the norms are compared
            by themselves.

    Raises:
        UserError: for runs of several experiments (`runs.experiments` has each) or none, for a metric or variant that
            no run has, and for any other argument that is not as said.
    """
    metrics = [metric] if isinstance(metric, str) else metric
    stated = runs.stated if isinstance(runs, Runs) else ()
    ask = Ask(metrics, at, versus, threshold, window, within)
    (chapter,) = chapters(one_experiment(runs).runs, ask, stated=stated, everything=True)
    return ComparedRuns(**vars(chapter.comparison), chapter=chapter)


def plot(runs: Sequence[LoadedRun] | ComparedRuns, *metrics: str, x: Literal["epoch", "step"] = "epoch") -> "Figures":
    """The figures that fit the runs of one experiment, as `bncompare plot` draws them; a notebook shows them.

    Args:
        runs: what `train` or `load_runs` returns, or a comparison of `compare`.
        metrics: only figures of these columns of metrics.csv, such as "val/loss".
        x: the horizontal axis.

    Raises:
        UserError: for runs of several experiments or none, and for a metric that no run has.
    """
    from bncompare.api.figures import Figures
    from bncompare.figures import experiment_figures

    if x not in ("epoch", "step"):
        raise UserError(f"x={x!r}: no such axis; valid: epoch, step")
    found = runs.chapter.experiment if isinstance(runs, ComparedRuns) else one_experiment(runs)
    comparison = runs if isinstance(runs, ComparedRuns) and not metrics else None
    figures = experiment_figures(found.runs, metrics=metrics or None, x=x, title=found.title, comparison=comparison)
    return Figures(list(figures))
