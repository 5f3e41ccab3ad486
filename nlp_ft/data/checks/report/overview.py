"""Summary of the checked data.

Rows, classes or targets, and text lengths of each split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from nlp_ft.data.checks.finding import Checked, Split

_TARGET_BINS = 20


@dataclass(frozen=True)
class SplitSummary:
    """One split in numbers.

    `classes`: rows of each class, in id order (a row of several labels counts for each; empty for regression).
    `targets`: regression alone, the rows in each of 20 equal bins between the lowest and the highest target of all splits.
    `lengths`: how many texts (with their pairs) have a length, in characters.
    """

    source: str
    rows: int
    classes: dict[str, int]
    targets: list[int]
    lengths: dict[int, int]
    where: Callable[[int], str]


def target_range(checked: Checked) -> tuple[float, float] | None:
    """Lowest and highest target of all splits; None if the labels are classes."""
    if checked.problem_type != "regression":
        return None
    ends = [(min(split.targets), max(split.targets)) for split in checked.splits.values() if len(split)]
    return (float(min(low for low, _ in ends)), float(max(high for _, high in ends))) if ends else None


def summarised(checked: Checked, split: Split, source: str, span: tuple[float, float] | None) -> SplitSummary:
    """Summarise a split; its labels and its texts are read once each.

    `span`: the `target_range`.
    """
    classes: Counter[str] = Counter()
    if checked.problem_type == "multi_label_classification":
        for label in split.labels:
            classes.update(checked.class_names(label))
    elif span is None:
        classes.update({checked.labels[label]: count for label, count in Counter(split.class_ids).items()})
    named = {name: classes[name] for name in checked.labels}
    targets = [] if span is None else _targets(split, *span)
    return SplitSummary(source, len(split), named, targets, _lengths(split), split.where)


def _targets(split: Split, low: float, high: float) -> list[int]:
    binned = [0] * _TARGET_BINS
    step = (high - low) / _TARGET_BINS or 1.0
    for target in split.targets:
        binned[min(int((target - low) / step), _TARGET_BINS - 1)] += 1
    return binned


def _lengths(split: Split) -> dict[int, int]:
    if split.pairs is None:
        return dict(Counter(map(len, split.texts)))
    return dict(Counter(len(text) + len(pair) for text, pair in zip(split.texts, split.pairs, strict=True)))
