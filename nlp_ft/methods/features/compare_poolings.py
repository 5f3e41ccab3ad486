"""Compare the poolings of the encoder's last layer on held-out training rows.

All are compared, also those that the stock layers of the architecture cannot apply.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from transformers import PreTrainedModel

from nlp_ft.methods.features.head import check_labels
from nlp_ft.models.heads import final_linear
from nlp_ft.models.linear_probe import fit_linear
from nlp_ft.models.pooling import POOLING_KEY, POOLINGS, pooling_obstacle


def compare_poolings(
    features: np.ndarray,
    labels: np.ndarray,
    model: PreTrainedModel,
    requested: str,
    kind: str,
    weights: np.ndarray | None,
) -> list[str]:
    """Score each pooling on held-out training rows. Returns: lines for the log.

    features: (rows, 4 * width), concatenated in the order of POOLINGS; all are scored by one regression on the same folds.
    Raises: DataError for labels that no head can be fitted on.
    """
    check_labels(labels, kind, final_linear(model)[1].out_features)
    if labels.ndim > 1:
        varied = np.ptp(labels, axis=0) > 0
        labels, weights = labels[:, varied], None if weights is None else weights[varied]
    parts = zip(POOLINGS, np.split(features, len(POOLINGS), axis=1), strict=True)
    reports = (
        {pooling: fit_linear(part, labels, kind, class_weights=weights)[2] for pooling, part in parts}
        if labels.size
        else {}
    )
    held_out = {pooling: report["held_out_score"] for pooling, report in reports.items()}
    scores = {pooling: score for pooling, score in held_out.items() if score is not None}
    if not scores or len(scores) < len(held_out):
        return ["poolings cannot be compared: no row can be held out, as a class has one row"]
    return describe(
        scores, reports["mean"]["held_out_rows"], current_pooling(model), requested, kind, _obstacles(model)
    )


def current_pooling(model: PreTrainedModel) -> str:
    """Return the pooling of POOLINGS that the classifier applies now."""
    if not pooling_obstacle("last", model):
        return "last"
    if getattr(model.config, POOLING_KEY, None) == "mean":
        return "mean"
    return getattr(model.config, "classifier_pooling", "cls")


def _obstacles(model: PreTrainedModel) -> dict[str, str]:
    """Return the reason for each pooling that the model cannot apply."""
    reasons = {pooling: pooling_obstacle(pooling, model) for pooling in POOLINGS if pooling != current_pooling(model)}
    return {pooling: reason for pooling, reason in reasons.items() if reason}


def describe(
    scores: Mapping[str, float], rows: int, current: str, requested: str, kind: str, obstacles: Mapping[str, str]
) -> list[str]:
    """Describe the scores, the pooling in use, and a better one if there is one.

    scores: accuracy, its mean over labels, or R2; rows: the number held out; obstacles: the reason for each pooling that the
    model cannot apply. A difference is significant above two standard errors; the rows are treated as unpaired, which is
    conservative.
    """
    metric = "R2" if kind == "regression" else "accuracy"
    table = ", ".join(f"{pooling} {score:.3f}" for pooling, score in scores.items())
    best = max(scores, key=lambda pooling: scores[pooling])
    score = scores[current]
    error = float(np.sqrt(sum(_variance(scores[pooling], kind) for pooling in (best, current)) / rows))
    lines = [f"poolings of the last layer, {metric} on {rows} held-out training rows: {table}"]
    if best == current:
        lines.append(f"pooling in use: {current}, which scores best")
    elif scores[best] - score <= 2 * error:
        lines.append(
            f"pooling in use: {current}; {best} scores {scores[best] - score:.3f} more, within two standard errors"
        )
    elif best in obstacles:
        lines.append(f"pooling in use: {current}; {best} scores {scores[best] - score:.3f} more, but {obstacles[best]}")
    else:
        flag = f"--pooling {best} sets it" if requested != best else "this checkpoint has its own pooling"
        lines.append(f"pooling in use: {current}; {best} scores {scores[best] - score:.3f} more: {flag}")
    return lines


def _variance(score: float, kind: str) -> float:
    """Variance of one row's score: binomial, or of R2 for large samples.

    The latter is 4 R2 (1 - R2)^2 (Olkin & Finn 1995).
    """
    inside = min(max(score, 0.0), 1.0)
    return 4 * inside * (1 - inside) ** 2 if kind == "regression" else inside * (1 - inside)
