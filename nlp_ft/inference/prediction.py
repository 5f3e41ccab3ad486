"""One prediction: label, score, probabilities."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """One text's answer.

    label: the class name; a list of names for a multi-label model; the number itself for a regression; None where the model
    was less sure than `abstain_below`.
    score: probability of the label (multi-label: of its least probable name, or of no name at all), or the number.
    scores: probability of every class by name, or of the `top_k` likeliest; empty for a regression.
    windows: parts in which the text was read, 1 unless it is longer than the model.
    logits: what the model gave, one a class, where `return_logits` asked for it; before temperature and thresholds.
    """

    label: str | list[str] | float | None
    score: float
    scores: dict[str, float]
    windows: int = 1
    logits: tuple[float, ...] | None = None
