"""Comparison of a model with its exported graphs: predictions and speed.

All read the same rows.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE, compute_metrics
from nlp_ft.evaluation.probabilities import predicted
from nlp_ft.evaluation.report.tables import format_table
from nlp_ft.inference.classifier import Classifier
from nlp_ft.inference.inputs import Texts

POINT = 0.01
JUDGED = {SINGLE: ("accuracy", "f1_macro"), MULTI: ("f1_micro", "f1_macro"), REGRESSION: ("pearson",)}
_PASSES = 5
_TIMED_ROWS = 256  # of a timed pass
_SINGLE_ROWS = 32  # rows that are also read one by one


@dataclass(frozen=True)
class Rows:
    """Rows to compare on: texts or pairs, labels, and their source.

    labels: as `compute_metrics` takes them, None where there are none.
    """

    texts: list[str] | list[tuple[str, str]]
    labels: ArrayLike | None
    source: str


@dataclass(frozen=True)
class Line:
    """Figures of one engine.

    agreement: share of rows with the model's prediction (regression: Pearson's r with its numbers). max_difference: of any
    logit from the model's. beside: of any logit when a row is read alone. metrics: empty without labels. rows_per_second:
    median of the passes; speed: relative to the model, median of the ratios of passes that ran one after the other.
    """

    name: str
    agreement: float
    max_difference: float
    beside: float
    metrics: dict[str, float]
    rows_per_second: float
    speed: float
    megabytes: float


@dataclass(frozen=True)
class Parity:
    """Table of figures; lines[0] is the model itself."""

    problem_type: str
    rows: int
    source: str
    batch_size: int
    threads: int
    lines: tuple[Line, ...]

    def loss(self) -> tuple[str, float]:
        """The metric that the last line loses most of against the first, and its loss.

        Without labels it is the agreement: accuracy can lose no more than the share of rows that are predicted otherwise.
        """
        first, last = self.lines[0], self.lines[-1]
        if not last.metrics:
            return "agreement", 1 - last.agreement
        losses = {name: first.metrics[name] - last.metrics[name] for name in JUDGED[self.problem_type]}
        worst = max(losses, key=lambda name: losses[name])
        return worst, losses[worst]

    def as_dict(self) -> dict[str, object]:
        """Convert to a dictionary for export.json."""
        return asdict(self)

    def table(self) -> str:
        """Format as aligned text."""
        shown = JUDGED[self.problem_type]
        same = "r with the model" if self.problem_type == REGRESSION else "same answer"
        heads = ["", same, "max logit diff", "row alone", *shown, "rows/s", "speed", "MB"]
        cells = [
            [
                line.name,
                f"{line.agreement:.4f}",
                f"{line.max_difference:.2g}",
                f"{line.beside:.2g}",
                *(f"{line.metrics[name]:.4f}" if line.metrics else "not measured" for name in shown),
                f"{line.rows_per_second:.1f}",
                f"{line.speed:.2f}x",
                f"{line.megabytes:.1f}",
            ]
            for line in self.lines
        ]
        return (
            f"{format_table([heads, *cells])}\n"
            f"{self.rows} rows of {self.source}, batches of {self.batch_size}, {self.threads} threads"
        )


def measure(
    engines: Sequence[tuple[str, Classifier, float]], rows: Rows, batch_size: int, threads: int, passes: int = _PASSES
) -> Parity:
    """Measure every engine on the same rows in the same batches.

    engines: (name, classifier, megabytes), the model itself first. The timed passes take turns, so that other load on the
    machine slows all of them.
    """
    logits = [classifier.logits(rows.texts, batch_size) for _, classifier, _ in engines]
    sample = rows.texts[:_SINGLE_ROWS]
    alone = [
        float(np.abs(classifier.logits(sample, 1) - engine_logits[: len(sample)]).max())
        for (_, classifier, _), engine_logits in zip(engines, logits, strict=True)
    ]
    timed = rows.texts[:_TIMED_ROWS]
    seconds = [[_seconds(classifier, timed, batch_size) for _, classifier, _ in engines] for _ in range(passes)]
    lines = []
    for index, (name, classifier, megabytes) in enumerate(engines):
        line = Line(
            name=name,
            agreement=_agreement(classifier, logits[0], logits[index]),
            max_difference=float(np.abs(logits[index] - logits[0]).max()),
            beside=alone[index],
            metrics=_metrics(classifier, logits[index], rows.labels),
            rows_per_second=len(timed) / statistics.median(pass_seconds[index] for pass_seconds in seconds),
            speed=statistics.median(pass_seconds[0] / pass_seconds[index] for pass_seconds in seconds),
            megabytes=megabytes,
        )
        lines.append(line)
    return Parity(engines[0][1].problem_type, len(rows.texts), rows.source, batch_size, threads, tuple(lines))


def _seconds(classifier: Classifier, texts: Texts, batch_size: int) -> float:
    start = time.perf_counter()
    classifier.logits(texts, batch_size)
    return max(time.perf_counter() - start, 1e-9)


def _agreement(classifier: Classifier, expected: np.ndarray, actual: np.ndarray) -> float:
    """Share of rows with the same prediction, or Pearson's r of the numbers.

    r is 1 where the numbers are equal up to rounding.
    """
    if classifier.problem_type == REGRESSION:
        if np.allclose(expected, actual, atol=1e-4) or len(expected) < 2:
            return float(np.allclose(expected, actual, atol=1e-4))
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.nan_to_num(np.corrcoef(expected[:, 0], actual[:, 0])[0, 1]))
    limits = classifier.inference_config.limits(classifier.labels)
    predictions = [predicted(classifier.problem_type, logits, limits) for logits in (expected, actual)]
    same = predictions[0] == predictions[1]
    return float(np.mean(same.all(axis=1) if same.ndim == 2 else same))


def _metrics(classifier: Classifier, logits: np.ndarray, labels: ArrayLike | None) -> dict[str, float]:
    if labels is None:
        return {}
    applied = classifier.inference_config.applied(classifier.problem_type, logits, classifier.labels)
    return compute_metrics(classifier.problem_type, applied, labels, classifier.labels)
