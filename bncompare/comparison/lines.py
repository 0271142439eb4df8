"""Verdicts in lines: each pair's, or of many pairs one for each kind of verdict."""

from bncompare.comparison.verdicts import MeasureComparison

MAX_SENTENCES = 6  # of pairs, one by one


def joined(statement: str, evidence: str) -> str:
    """One sentence, with the evidence in its brackets."""
    if not evidence:
        return statement
    return f"{statement[:-1]}; {evidence})" if "(preliminary: " in statement else f"{statement} ({evidence})"


def verdict_lines(comparison: MeasureComparison) -> list[tuple[str, str]]:
    """Statement and evidence of each pair; of more than six pairs a line for each kind of verdict."""
    pairs = comparison.pairs
    if not pairs and len(comparison.variants) > 1:
        return [("nothing is judged yet: no run has a seed that did not choose", "")]
    if not pairs:
        return [("there is a single variant, and nothing to compare it with", "")]
    if len(pairs) <= MAX_SENTENCES:
        return [(pair.statement, pair.evidence) for pair in pairs]
    lines = []
    better, worse = comparison.measure.better.capitalize(), comparison.measure.worse.capitalize()
    for base in dict.fromkeys(pair.b for pair in pairs):
        of_base = [pair for pair in pairs if pair.b == base]
        for verdict, is_preliminary, words in (
            ("better", False, f"{better} than {base}"),
            ("better", True, f"Ahead of {base} (preliminary: too few seeds for {len(pairs)} pairs)"),
            ("worse", False, f"{worse} than {base}"),
            ("worse", True, f"Behind {base} (preliminary: too few seeds for {len(pairs)} pairs)"),
            ("undecided", False, f"No clear difference from {base}"),
            ("not judged", False, f"Not to be compared with {base}"),
        ):
            chosen = [p.a for p in of_base if (p.verdict, p.is_preliminary) == (verdict, is_preliminary)]
            if chosen:
                lines.append((f"{words}: {', '.join(chosen)}", ""))
    return lines
