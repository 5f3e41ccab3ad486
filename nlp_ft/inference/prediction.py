"""One prediction: label, score, probabilities."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one text.

    label: the class name; a list of names for a multi-label model; the number itself for a regression; None where its
    probability is below `abstain_below`.
    score: probability of the label (multi-label: of its least probable name, or of no name at all), or the number.
    scores: probability of every class by name, or of the `top_k` likeliest; empty for a regression.
    windows: number of windows the text was read in, 1 unless it is longer than the model.
    logits: one a class, where `return_logits` is set; before temperature and thresholds.
    cut: number of tokens that no window has: of a text that was truncated, or of a pair whose shorter part fills the window.
    """

    label: str | list[str] | float | None
    score: float
    scores: dict[str, float]
    windows: int = 1
    logits: tuple[float, ...] | None = None
    cut: int = 0
