"""Which pooling of the encoder's last layer would have served best, whether or not stock layers can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nlp_ft.methods.features.head import refuse
from nlp_ft.models.linear_probe import fit_linear
from nlp_ft.models.pooling import MARK, POOLINGS, cannot_hold


def compare(
    poolings: np.ndarray, labels: np.ndarray, model: Any, asked: str, kind: str, weights: np.ndarray | None
) -> list[str]:
    """How each pooling does on held-out training rows, and which was taken: lines to say.

    poolings: (rows, 4 * width), side by side as POOLINGS has them; each is scored by the same regression on the same folds.
    Raises: DataError for labels that no head can be fitted on.
    """
    refuse(labels, kind, model.config.num_labels)
    if labels.ndim > 1:
        varied = np.ptp(labels, axis=0) > 0
        labels, weights = labels[:, varied], None if weights is None else weights[varied]
    parts = zip(POOLINGS, np.split(poolings, len(POOLINGS), axis=1), strict=True)
    reports = (
        {way: fit_linear(part, labels, kind, class_weights=weights)[2] for way, part in parts} if labels.size else {}
    )
    scores = {way: report["held_out_score"] for way, report in reports.items()}
    if not scores or None in scores.values():
        return ["poolings cannot be compared: no row can be held out, as a class has one only"]
    return verdict(scores, reports["mean"]["held_out_rows"], taken_of(model), asked, kind, _reasons(model))


def taken_of(model: Any) -> str:
    """The pooling of POOLINGS that the classifier reads, as it stands."""
    if not cannot_hold("last", model):
        return "last"
    if getattr(model.config, MARK, None) == "mean":
        return "mean"
    return getattr(model.config, "classifier_pooling", "cls")


def _reasons(model: Any) -> dict[str, str]:
    """Why a pooling cannot be had, for those that cannot; what the model reads already can."""
    reasons = {way: cannot_hold(way, model) for way in POOLINGS if way != taken_of(model)}
    return {way: reason for way, reason in reasons.items() if reason}


def verdict(
    scores: Mapping[str, float], rows: int, taken: str, asked: str, kind: str, reasons: Mapping[str, str]
) -> list[str]:
    """The table in a line, which pooling was taken, and whether another one would have been better.

    scores: accuracy, its mean over labels, or R2; rows: held out. reasons: why a pooling cannot be had. A difference below two
    standard errors (as of unpaired rows: too careful rather than too bold) is not told from chance.
    """
    what = "R2" if kind == "regression" else "accuracy"
    table = ", ".join(f"{way} {score:.3f}" for way, score in scores.items())
    best = max(scores, key=lambda way: scores[way])
    own = scores[taken]
    error = float(np.sqrt(sum(_variance(scores[way], kind) for way in (best, taken)) / rows))
    lines = [f"poolings of the last layer, {what} on {rows} held-out training rows: {table}"]
    if best == taken:
        lines.append(f"pooling taken: {taken}, which scores best")
    elif scores[best] - own <= 2 * error:
        lines.append(
            f"pooling taken: {taken}; {best} scores {scores[best] - own:.3f} more, which is not told from chance"
        )
    elif best in reasons:
        lines.append(f"pooling taken: {taken}; {best} scores {scores[best] - own:.3f} more, but {reasons[best]}")
    else:
        flag = f"--pooling {best} takes it" if asked != best else "this checkpoint pools in its own way already"
        lines.append(f"pooling taken: {taken}; {best} scores {scores[best] - own:.3f} more: {flag}")
    return lines


def _variance(score: float, kind: str) -> float:
    """Of one row's share in the score: binomial; for R2 its large-sample form, 4 R2 (1 - R2)^2 (Olkin & Finn 1995)."""
    inside = min(max(score, 0.0), 1.0)
    return 4 * inside * (1 - inside) ** 2 if kind == "regression" else inside * (1 - inside)
