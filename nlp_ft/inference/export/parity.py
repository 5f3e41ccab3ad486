"""What an export costs and gains: the same rows through the model and its graphs, answers and speed side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE, compute_metrics
from nlp_ft.evaluation.probabilities import predicted
from nlp_ft.evaluation.report.tables import format_table
from nlp_ft.inference.classifier import Classifier

POINT = 0.01
JUDGED = {SINGLE: ("accuracy", "f1_macro"), MULTI: ("f1_micro", "f1_macro"), REGRESSION: ("pearson",)}
_PASSES = 5
_TIMED = 256  # rows of a timed pass
_ALONE = 32  # rows that are also read one by one


@dataclass(frozen=True)
class Rows:
    """What is compared: texts or pairs; labels as `compute_metrics` takes them, None where there are none; their source."""

    texts: list[Any]
    labels: Any
    source: str


@dataclass(frozen=True)
class Line:
    """One engine's figures.

    agreement: share of rows with the model's own answer (regression: Pearson's r with its numbers). max_difference: of any
    logit from the model's. beside: of any logit when a row is read alone. metrics: empty without labels. rows_per_second:
    median of the passes; speed: times the model's, median of the ratios of passes that ran one after the other.
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
    """The table; lines[0] is the model itself."""

    problem_type: str
    rows: int
    source: str
    batch_size: int
    threads: int
    lines: tuple[Line, ...]

    def loss(self) -> tuple[str, float]:
        """The judged figure of which the last line loses most against the first, and how much of it.

        Without labels it is the agreement: accuracy can lose no more than the share of rows that are answered otherwise.
        """
        first, last = self.lines[0], self.lines[-1]
        if not last.metrics:
            return "agreement", 1 - last.agreement
        losses = {name: first.metrics[name] - last.metrics[name] for name in JUDGED[self.problem_type]}
        worst = max(losses, key=lambda name: losses[name])
        return worst, losses[worst]

    def as_dict(self) -> dict[str, Any]:
        """For export.json."""
        return asdict(self)

    def table(self) -> str:
        """As aligned text."""
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
    """Every engine (name, classifier, megabytes) on the same rows in the same batches; the first one is the model itself.

    The timed passes take turns, so that whatever else the machine does slows all of them.
    """
    logits = [classifier.logits(rows.texts, batch_size) for _, classifier, _ in engines]
    few = rows.texts[:_ALONE]
    alone = [
        float(np.abs(classifier.logits(few, 1) - found[: len(few)]).max())
        for (_, classifier, _), found in zip(engines, logits, strict=True)
    ]
    timed = rows.texts[:_TIMED]
    seconds = [[_seconds(classifier, timed, batch_size) for _, classifier, _ in engines] for _ in range(passes)]
    lines = []
    for place, (name, classifier, megabytes) in enumerate(engines):
        line = Line(
            name=name,
            agreement=_agreement(classifier, logits[0], logits[place]),
            max_difference=float(np.abs(logits[place] - logits[0]).max()),
            beside=alone[place],
            metrics=_metrics(classifier, logits[place], rows.labels),
            rows_per_second=len(timed) / statistics.median(one[place] for one in seconds),
            speed=statistics.median(one[0] / one[place] for one in seconds),
            megabytes=megabytes,
        )
        lines.append(line)
    return Parity(engines[0][1].problem_type, len(rows.texts), rows.source, batch_size, threads, tuple(lines))


def _seconds(classifier: Classifier, texts: list[Any], batch_size: int) -> float:
    start = time.perf_counter()
    classifier.logits(texts, batch_size)
    return max(time.perf_counter() - start, 1e-9)


def _agreement(classifier: Classifier, wanted: np.ndarray, got: np.ndarray) -> float:
    """Share of rows with the same answer, or Pearson's r of the numbers (1 where they are all but equal)."""
    if classifier.problem_type == REGRESSION:
        if np.allclose(wanted, got, atol=1e-4) or len(wanted) < 2:
            return float(np.allclose(wanted, got, atol=1e-4))
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.nan_to_num(np.corrcoef(wanted[:, 0], got[:, 0])[0, 1]))
    limits = classifier.inference_config.limits(classifier.labels)
    answers = [predicted(classifier.problem_type, logits, limits) for logits in (wanted, got)]
    same = answers[0] == answers[1]
    return float(np.mean(same.all(axis=1) if same.ndim == 2 else same))


def _metrics(classifier: Classifier, logits: np.ndarray, labels: Any) -> dict[str, float]:
    if labels is None:
        return {}
    applied = classifier.inference_config.applied(classifier.problem_type, logits, classifier.labels)
    return compute_metrics(classifier.problem_type, applied, labels, classifier.labels)
