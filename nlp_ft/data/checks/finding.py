"""Input and output of every check: splits, and findings with examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from nlp_ft.data import text_key
from nlp_ft.data.text import cut

__all__ = ["Checked", "Example", "Finding", "Label", "Severity", "Split", "cut", "text_key"]

Severity = Literal["error", "warning", "note"]
Label = int | float | Sequence[float]  # class id, regression target, or 0/1 of each class
MOST_EXAMPLES = 10


@dataclass(frozen=True)
class Split:
    """Rows of one split, in file order.

    `name`: train, validation or test. `labels`: a class id (single-label), a 0/1 list in the order of the class names
    (multi-label) or a float (regression) for each row. `others`: cells of the columns that are neither text nor label.
    `where`: the location of a row, as `reviews.csv:7`. Columns are read in order or by row number; they may lie on disk, so
    no check holds all texts at once.
    """

    name: str
    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: Sequence[Label]
    where: Callable[[int], str]
    others: dict[str, Sequence[object]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def class_ids(self) -> Sequence[int]:
        """Labels of a single-label problem."""
        return cast("Sequence[int]", self.labels)

    @property
    def targets(self) -> Sequence[float]:
        """Labels of a regression."""
        return cast("Sequence[float]", self.labels)


@dataclass(frozen=True)
class Checked:
    """Everything under check: splits by name, problem type, class names.

    `splits`: train always. `labels`: the class names in id order.
    """

    splits: dict[str, Split]
    problem_type: str
    labels: list[str]

    def label_name(self, label: Label) -> str:
        """Label as people write it: a class name, names joined by `;`, or a number."""
        return f"{label:g}" if self.problem_type == "regression" else ";".join(self.class_names(label))

    def class_names(self, label: Label) -> list[str]:
        """Names of the classes of a label; of a regression none."""
        if self.problem_type == "regression":
            return []
        if self.problem_type == "multi_label_classification":
            return [name for name, on in zip(self.labels, cast("Sequence[float]", label), strict=True) if on]
        return [self.labels[cast("int", label)]]


@dataclass(frozen=True)
class Example:
    """Example of a finding: location, text (cut to 200 characters), label, note."""

    where: str
    text: str
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Something wrong in the data, and what to do about it.

    `check`: its name, in snake_case. `severity`: error (figures or model are wrong), warning (likely so), note (worth
    knowing). `split`: its split, or two joined by `/`. `rows`: how many rows of the (first) split it concerns, `of` how
    many that has. `message`: what is wrong, one line. `advice`: what to do, one line.
    `indices`: all row numbers (from 0) concerned, by split. `drop` and `rewrite`: what `--fix` does, by split and row number.
    `measures`: numbers worth plotting or comparing. `scores`: a number for each row of `indices`, where rows are ranked.
    """

    check: str
    severity: Severity
    split: str
    rows: int
    of: int
    message: str
    advice: str
    examples: list[Example] = field(default_factory=list)
    indices: dict[str, list[int]] = field(default_factory=dict)
    drop: dict[str, list[int]] = field(default_factory=dict)
    rewrite: dict[str, dict[int, str]] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    scores: dict[str, list[float]] = field(default_factory=dict)
