"""Input and output of every check: splits, and findings with examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nlp_ft.data import text_key
from nlp_ft.data.text import cut

__all__ = ["Checked", "Example", "Finding", "Severity", "Split", "cut", "text_key"]

Severity = Literal["error", "warning", "note"]
MOST_EXAMPLES = 10


@dataclass(frozen=True)
class Split:
    """Rows of one split, in file order.

    `name`: train, validation or test. `labels`: a class id (single-label), a 0/1 list in the order of the class names
    (multi-label) or a float (regression) for each row. `others`: cells of the columns that are neither text nor label.
    `where`: the place of a row, as `reviews.csv:7`. Columns are read in order or by row number; they may lie on disk, so
    no check holds all texts at once.
    """

    name: str
    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: Sequence[Any]
    where: Callable[[int], str]
    others: dict[str, Sequence[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)


@dataclass(frozen=True)
class Checked:
    """Everything under check: splits by name, problem type, class names.

    `splits`: train always. `labels`: the class names in id order.
    """

    splits: dict[str, Split]
    problem_type: str
    labels: list[str]

    def label_name(self, label: Any) -> str:
        """Label as people write it: a class name, names joined by `;`, or a number."""
        if self.problem_type == "regression":
            return f"{label:g}"
        if self.problem_type == "multi_label_classification":
            return ";".join(name for name, on in zip(self.labels, label, strict=True) if on)
        return self.labels[label]


@dataclass(frozen=True)
class Example:
    """Case of a finding: where it is, text (cut to 200 characters), label, and a note."""

    where: str
    text: str
    label: str = ""
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Something wrong in the data, and what to do about it.

    `check`: its name, in snake_case. `severity`: error (figures or model are wrong), warning (likely so), note (worth
    knowing). `split`: its split, or two joined by `/`. `rows`: how many rows of the (first) split it concerns, `of` how
    many that has. `message`: what is wrong, one line without the count's place. `advice`: what to do, one line.
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
