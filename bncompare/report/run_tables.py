"""Runs as tables: what was planned, what there is, how one run ended, whether it could be repeated."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bncompare.config import Metric, seed_ranges
from bncompare.report.table import Table
from bncompare.report.words import judged_together
from bncompare.runs import Diagnostic, LoadedRun

if TYPE_CHECKING:
    from bncompare.comparison import Finding

MAX_VALUES_SHOWN = 8  # of γ and β
MAX_LAYERS_SHOWN = 8  # of diagnostics, side by side


def plan_table(rows: Sequence[dict[str, Any]]) -> Table:
    """What is to be trained, a line per run."""
    columns = ["experiment", "variant", "seed", "parameters", "steps", "state"]
    cells = [[str(row[name]) if name != "parameters" else f"{row[name]:,}" for name in columns] for row in rows]
    return Table.of(columns, cells, {"seed", "parameters", "steps"})


def _loss_and_test(metrics: Iterable[str]) -> tuple[str, str]:
    """The loss that a run is judged by while it trains, and the metric of the test set."""
    there = set(metrics)
    loss = "val/loss" if "val/loss" in there else "train/loss"
    return loss, "test/accuracy" if "train/accuracy" in there else "test/loss"


def runs_table(runs: Sequence[LoadedRun]) -> Table:
    """A line per run, below the folder of its experiment."""
    groups: dict[str, list[list[str]]] = {}
    for run in runs:
        numbers = [f"{_length(run):.4g}", *(_shown(name, run.best(name)) for name in _loss_and_test(run.metrics))]
        row = [run.variant, str(run.seed), run.status, *numbers, run.path.name]
        groups.setdefault(str(run.path.parent), []).append(row)
    columns = ["variant", "seed", "status", "epochs", "best loss", "test", "folder"]
    return Table(columns, list(groups.items()), {"seed", "epochs", "best loss", "test"}, num_keys=2)


def metrics_table(run: LoadedRun) -> Table | None:
    """A run's metrics at its best and its last evaluation, or so far; None before the first."""
    # JSON has no NaN: what a diverged run ended with is in metrics.csv.
    ended = {name: column[-1] for name, column in run.metrics.items() if column}
    best, last = (run.result.best or {}, {**(run.result.last or {}), **ended}) if run.result else ({}, {})
    rows = [[Metric(name).words, _shown(name, best.get(name)), _shown(name, last.get(name))] for name in best | last]
    if rows:
        return Table.of(["metric", "best", "last"], rows, {"best", "last"})
    rows = [[Metric(name).words, _shown(name, column[-1])] for name, column in run.metrics.items() if column]
    return Table.of(["metric", "so far"], rows, {"so far"}) if rows else None


def norm_parameters_table(norms: dict[str, dict[str, Any]]) -> Table:
    """γ and β of each norm layer: arrays by layer and `weight` or `bias`."""
    rows = []
    for layer, values in norms.items():
        for quantity, symbol in (("weight", "γ"), ("bias", "β")):
            if quantity in values:
                flat = values[quantity].ravel()
                head = " ".join(f"{value:.3f}" for value in flat[:MAX_VALUES_SHOWN])
                more = " …" if flat.size > MAX_VALUES_SHOWN else ""
                statistics = [f"{x:.4f}" for x in (flat.mean(), flat.min(), flat.max())]
                numbers = [text.replace("-", "−") for text in (*statistics, head)]
                rows.append([layer, symbol, str(flat.size), *numbers[:-1], numbers[-1] + more])
    columns = ["layer", "", "size", "mean", "min", "max", "values (best weights)"]
    return Table.of(columns, rows, {"size", "mean", "min", "max"})


def diagnostics_tables(rows: Sequence[Diagnostic]) -> list[Table]:
    """The last value of each quantity, a column a layer; single values of γ and β left out."""
    last = {(row.quantity, row.layer): row.value for row in rows if "[" not in row.quantity}
    layers = list(dict.fromkeys(layer for _, layer in last))
    tables = []
    for start in range(0, len(layers), MAX_LAYERS_SHOWN):
        chosen = layers[start : start + MAX_LAYERS_SHOWN]
        names = dict.fromkeys(quantity for quantity, layer in last if layer in chosen)
        cells = [[name, *(_measured(last.get((name, layer))) for layer in chosen)] for name in names]
        tables.append(Table.of(["diagnostics, last", *chosen], cells, set(chosen)))
    return tables


def verified_table(verified: Sequence[dict[str, Any]]) -> Table:
    """A line per retrained run: whether its bytes came out again."""
    rows = []
    for item in verified:
        notes = [f"not compared: {', '.join(item['missing'])}"] if item["missing"] else []
        notes += [f"trained elsewhere: {'; '.join(item['elsewhere'])}"] if item["elsewhere"] else []
        notes += [item["problem"]] if item["problem"] else []
        verdict = "identical" if item["identical"] else "NOT RETRAINED" if item["problem"] else "DIFFERENT"
        files = item["same"] if item["identical"] or item["problem"] else item["different"] or item["missing"]
        rows.append([item["path"], verdict, ", ".join(files), "; ".join(notes)])
    identical = sum(item["identical"] for item in verified)
    notes = [f"{identical} of {len(verified)} runs reproduced to the byte"]
    return Table(["run", "", "files", "notes"], [("", rows)], notes=notes)


def claims_table(findings: "Mapping[str, Sequence[Finding]]", *, names_once: bool = False) -> Table:
    """What published results claim and what was measured, by experiment; `names_once` names each of these once."""
    rows = [
        [
            "" if names_once and i else experiment,
            finding.claim.statement,
            finding.claim.published or "",
            measured_cell(finding),
            finding.outcome,
        ]
        for experiment, judged in findings.items()
        for i, finding in enumerate(judged)
    ]
    columns = ["experiment", "claim", "published", "measured (95 % CI)", "verdict"]
    return Table(columns, [("", rows)], notes=[judged_together(len(rows))])


def measured_cell(finding: "Finding") -> str:
    """The number that a claim is held against."""
    seeds = finding.claim.seeds if finding.summary else None
    judged_by = f", seeds {', '.join(seed_ranges(seeds))}" if seeds else ""
    return "; ".join([finding.measured + judged_by, *finding.missing])


def _measured(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}".replace("-", "−")


def _length(run: LoadedRun) -> float:
    return run.metrics["epoch"][-1] if run.metrics["epoch"] else 0.0


def _shown(name: str, value: float | None) -> str:
    """A metric, or the place of an evaluation, as people read it."""
    if value is None:
        return "–"
    metric = Metric(name)
    return metric.shown(value) + " %" * metric.is_accuracy if metric.split else f"{value:.4g}"
