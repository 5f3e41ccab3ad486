"""Charts of a report: classes, targets, lengths, findings and their scores."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from nlp_ft.data import counted
from nlp_ft.data.checks.finding import Finding
from nlp_ft.data.checks.report.overview import SplitSummary
from nlp_ft.data.checks.report.wording import share, title
from nlp_ft.evaluation.report import charts
from nlp_ft.evaluation.report.charts import Bar, Panel
from nlp_ft.evaluation.report.text import percent

if TYPE_CHECKING:
    from nlp_ft.data.checks.report.check_report import CheckReport

Figure = tuple[str, Markup]  # caption, chart

_CLASSES_DRAWN = 20
_FINDINGS_DRAWN = 30
_SCORE_BINS = 20
_LENGTH_EDGES = [0, 1, 2, 3, *(part << power for power in range(40) for part in (4, 5, 6, 7))]  # ... 8 10 12 14 16 20


def data_figures(report: CheckReport) -> Iterable[Figure]:
    """Charts of the data and of the shares of it that the findings concern."""
    splits = report.splits
    if any(split.classes for split in splits.values()):
        yield _class_figure(splits)
    elif report.target_range is not None:
        yield _target_figure(splits, report.target_range)
    if any(split.lengths for split in splits.values()):
        yield _length_figure(splits)
    if report.findings:
        yield _finding_figure(report.findings)


def score_figure(name: str, finding: Finding) -> Figure | None:
    """Histogram of the scores of a finding, by split; None if it has none.

    `name`: an id that is unique on the page.
    """
    scores = {split: [score for score in values if math.isfinite(score)] for split, values in finding.scores.items()}
    scores = {split: values for split, values in scores.items() if values}
    if not scores:
        return None
    low, high = min(map(min, scores.values())), max(map(max, scores.values()))
    if low >= 0 and high <= 1:  # shares: to the tenth
        low, high = math.floor(low * 10) / 10, math.ceil(high * 10) / 10
    high = high if high > low else low + 1
    edges = [low + (high - low) * index / _SCORE_BINS for index in range(_SCORE_BINS + 1)]
    panels = [
        Panel(f"{split}, {counted(len(values), 'row')}", _binned(Counter(values), edges), split)
        for split, values in scores.items()
    ]
    unit = _score_name(finding, high)
    words = "; ".join(f"{split}: {min(values):.2f} to {max(values):.2f}" for split, values in scores.items())
    return unit, charts.histogram(name, unit, words, panels, [f"{edge:.3g}" for edge in edges], unit.lower())


def _score_name(finding: Finding, highest: float) -> str:
    if "label" in finding.check and highest <= 1:
        return "Probability of the given label"
    return "Similarity" if "near" in finding.check else "Score"


def _binned(counts: dict[float, int] | dict[int, int], edges: Sequence[float]) -> list[int]:
    """Number of values in each bin.

    `counts`: of each value. A lower edge belongs to its bin, the last edge to the last bin.
    """
    binned = [0] * (len(edges) - 1)
    for value, count in counts.items():
        binned[min(bisect_right(edges, value), len(binned)) - 1] += count
    return binned


def _class_figure(splits: dict[str, SplitSummary]) -> Figure:
    totals: Counter[str] = Counter()
    for split in splits.values():
        totals.update(split.classes)
    groups = []
    for name, _ in totals.most_common(_CLASSES_DRAWN):
        counts = {split: facts.classes.get(name, 0) for split, facts in splits.items()}
        parts = {split: count / (splits[split].rows or 1) for split, count in counts.items()}
        bars = [Bar(part, f"{split} {percent(part)} ({counts[split]})", split) for split, part in parts.items()]
        groups.append((name, bars))
    more = f" (the {_CLASSES_DRAWN} most frequent of {len(totals)})" if len(totals) > _CLASSES_DRAWN else ""
    words = "; ".join(f"{name}: {', '.join(bar.value for bar in bars)}" for name, bars in groups)
    return f"Classes by split{more}", charts.bars("classes", "Share of each class by split", words, groups)


def _target_figure(splits: dict[str, SplitSummary], span: tuple[float, float]) -> Figure:
    bins = max(len(split.targets) for split in splits.values())
    edges = [f"{span[0] + (span[1] - span[0]) * index / bins:.3g}" for index in range(bins + 1)]
    panels = [Panel(f"{name}, {counted(split.rows, 'row')}", split.targets, name) for name, split in splits.items()]
    words = f"Targets lie between {edges[0]} and {edges[-1]}."
    return "Targets by split", charts.histogram("targets", "Targets by split", words, panels, edges, "target")


def _length_figure(splits: dict[str, SplitSummary]) -> Figure:
    shortest = min(min(split.lengths, default=0) for split in splits.values())
    longest = max(max(split.lengths, default=0) for split in splits.values())
    edges = _LENGTH_EDGES[bisect_right(_LENGTH_EDGES, shortest) - 1 : bisect_right(_LENGTH_EDGES, longest) + 1]
    panels, words = [], []
    for name, split in splits.items():
        middle = _median(split.lengths)
        panels.append(Panel(f"{name}, median {middle}", _binned(split.lengths, edges), name))
        words.append(f"{name}: median {middle}, longest {max(split.lengths, default=0)} characters")
    heading = "Length of the texts by split"
    return heading, charts.histogram("lengths", heading, "; ".join(words), panels, list(map(str, edges)), "characters")


def _median(counts: dict[int, int]) -> int:
    """The lower median of values; `counts`: of each value."""
    left = (sum(counts.values()) + 1) // 2
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return value
    return 0


def _finding_figure(findings: Sequence[Finding]) -> Figure:
    groups = [
        (
            f"{finding.severity}: {title(finding)}",
            [Bar(share(finding), f"{percent(share(finding))} ({counted(finding.rows, 'row')})", finding.severity)],
        )
        for finding in findings[:_FINDINGS_DRAWN]
    ]
    words = "; ".join(f"{label} {bars[0].value}" for label, bars in groups)
    heading = "Share of the rows that each finding concerns"
    return heading, charts.bars("findings", heading, words, groups)
