"""Labels that are likely wrong, because a cheap model finds them improbable."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Label, Severity, Split
from nlp_ft.data.checks.linear_model import Predictions, Progress, predict
from nlp_ft.data.text import cut
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION

_FEWEST_ROWS = 50  # of train, below which no label is judged
_FEWEST_OF_CLASS = 10  # rows of a class, below which its labels are not doubted
_LITTLE = 0.03  # of the uncertainty explained, below which the model's doubts say nothing
_FAIR = 0.2  # explained, from which a doubt is a warning
_MOST_CELLS = 200_000_000  # rows times classes, beyond which probabilities fill gigabytes
_MOST_LISTED = 0.05  # of a split
_FAR = 4.0  # robust standard deviations of a regression
_CHECK = "wrong_labels"


@dataclass(frozen=True)
class _Doubts:
    """Suspect rows of one split, most suspect first.

    `scores`: a number for each row. `note`: describes a row. `share`: their share of the split before the cap.
    """

    rows: np.ndarray
    scores: np.ndarray
    note: Callable[[int], str]
    share: float


def suspected(checked: Checked, progress: Progress | None = None, seed: int = 42, folds: int = 5) -> list[Finding]:
    """Find rows whose label a cheap model doubts, by split, most doubtful first.

    Train is judged out of fold, other splits by a model of all of train. Classes: doubted by confident learning, ranked by
    the probability of the given label less that of the best other; `scores` is the probability of the given label
    (multi-label: of the most doubtful one). Regression: more than 4 robust standard deviations off; `scores` is how many.
    At most a twentieth of a split is listed. `measures`: "estimated_share" of wrong labels before that cap, "accuracy"
    (regression: "r2") of the cheap model, "majority" and "explained", the share of the labels' entropy it explains. Where
    that is next to nothing, a note says so. Deterministic.

    Source: Northcutt et al. 2021, arXiv:1911.00068, section 3.
    """
    train = checked.splits["train"]
    if len(train) < _FEWEST_ROWS:
        return [_unknown(train, f"too few rows to look for wrong labels: {len(train)}, wanted {_FEWEST_ROWS}", {})]
    cells = sum(map(len, checked.splits.values())) * len(checked.labels)
    if cells > _MOST_CELLS:
        size = f"{len(checked.labels)} classes of {len(train)} rows"
        return [
            _unknown(train, f"too many classes to look for wrong labels in memory: {size}; check a part of them", {})
        ]
    predictions = predict(checked, folds, seed, progress)
    if checked.problem_type == REGRESSION:
        return _far_values(checked, predictions)
    measures = _quality(checked, predictions.by_split["train"])
    if measures["explained"] < max(_LITTLE, 3 / len(train)):
        known = f"accuracy {measures['accuracy']:.3f} out of fold, {measures['majority']:.3f} for the majority class"
        return [
            _unknown(train, f"a cheap model hardly learns these labels ({known}), so it cannot judge them", measures)
        ]
    doubts = _doubts(checked, predictions.by_split)
    model = f"a cheap model (out-of-fold accuracy {measures['accuracy']:.3f}, majority {measures['majority']:.3f}"
    model += ")" if predictions.length >= 20_000 else f", first {predictions.length} characters of each text)"
    severity: Severity = "warning" if measures["explained"] >= _FAIR else "note"
    return [
        _finding(checked, name, suspects, severity, f"labels doubted by {model}", measures)
        for name, suspects in doubts.items()
        if len(suspects.rows)
    ]


def _finding(
    checked: Checked, name: str, doubts: _Doubts, severity: Severity, message: str, measures: dict[str, float]
) -> Finding:
    split = checked.splits[name]
    rows = doubts.rows.tolist()
    listed = len(rows) < round(doubts.share * len(split))
    return Finding(
        check=_CHECK,
        severity=severity,
        split=name,
        rows=len(rows),
        of=len(split),
        message=message + (f"; the {_MOST_LISTED:.0%} it doubts most are listed" if listed else ""),
        advice="suspects, not proof: read them from the top down and correct what is wrong; --fix leaves them alone",
        examples=[_example(checked, split, row, doubts.note(row)) for row in rows[:MOST_EXAMPLES]],
        indices={name: rows},
        measures={"estimated_share": doubts.share, **measures},
        scores={name: [round(score, 6) for score in doubts.scores.tolist()]},
    )


def _unknown(train: Split, message: str, measures: dict[str, float]) -> Finding:
    advice = "wrong labels are not looked for here; label a sample twice and compare"
    return Finding(_CHECK, "note", "train", 0, len(train), message, advice, measures=measures)


def _example(checked: Checked, split: Split, row: int, note: str) -> Example:
    return Example(split.where(row), cut(split.texts[row]), checked.label_name(split.labels[row]), note)


def _quality(checked: Checked, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy of the model and of the majority, and the share of entropy explained."""
    indicators = _indicators(checked, checked.splits["train"].labels)
    shares = indicators.mean(axis=0)
    if checked.problem_type == MULTI:
        right, majority = (probabilities > 0.5) == indicators, np.maximum(shares, 1 - shares).mean()
        confidence = np.where(indicators, probabilities, 1 - probabilities)
        prior = np.where(indicators, shares, 1 - shares)
    else:
        right, majority = probabilities.argmax(axis=1) == indicators.argmax(axis=1), shares.max()
        confidence, prior = probabilities[indicators], np.broadcast_to(shares, indicators.shape)[indicators]
    entropy = -np.log(prior).mean()
    explained = 1 + np.log(np.maximum(confidence, 1e-12)).mean() / entropy if entropy > 0 else 0.0
    return {"accuracy": float(right.mean()), "majority": float(majority), "explained": float(explained)}


def _indicators(checked: Checked, labels: Iterable[Label]) -> np.ndarray:
    """Given labels as booleans, (rows, classes)."""
    array = np.array(list(labels))
    return array > 0 if checked.problem_type == MULTI else array[:, None] == np.arange(len(checked.labels))


def _doubts(checked: Checked, by_split: dict[str, np.ndarray]) -> dict[str, _Doubts]:
    """Judge all splits together, by the same thresholds."""
    indicators = np.concatenate([_indicators(checked, checked.splits[name].labels) for name in by_split])
    probabilities = np.concatenate(list(by_split.values()))
    if checked.problem_type == MULTI:
        confidence = np.where(indicators, probabilities, 1 - probabilities)
        wrong = np.stack([_wrong_yes_no(*column) for column in zip(indicators.T, probabilities.T, strict=True)], axis=1)
        margin = np.where(wrong, 2 * confidence - 1, np.inf).min(axis=1)
        suspect, confidence = np.any(wrong, axis=1), np.where(wrong, confidence, np.inf).min(axis=1)
    else:
        labels = indicators.argmax(axis=1)
        suspect = np.logical_and(
            confident_joint_doubts(labels, probabilities), (indicators.sum(axis=0) >= _FEWEST_OF_CLASS)[labels]
        )
        wrong, confidence = indicators, probabilities[indicators]
        margin = confidence - np.where(indicators, -1, probabilities).max(axis=1)
    doubts, start = {}, 0
    for name, of_split in by_split.items():
        span = slice(start, start := start + len(of_split))
        doubts[name] = _ranked(checked, of_split, suspect[span], margin[span], confidence[span], wrong[span])
    return doubts


def _ranked(
    checked: Checked,
    probabilities: np.ndarray,
    suspect: np.ndarray,
    margin: np.ndarray,
    confidence: np.ndarray,
    wrong: np.ndarray,
) -> _Doubts:
    """Suspect rows of one split by margin, at most a twentieth of its rows.

    `confidence`: the probability of the given label, (rows,). `wrong`: which labels of a row are doubted (multi-label), or
    the given labels, (rows, classes).
    """

    def note(row: int) -> str:
        if checked.problem_type == MULTI:
            parts = [
                f"{name} ({p:.2f})" if p > 0.5 else f"not {name} ({1 - p:.2f})"
                for name, p, doubted in zip(checked.labels, probabilities[row], wrong[row], strict=True)
                if doubted
            ]
            return f"likely {', '.join(parts)}"
        label, of_row, names = int(wrong[row].argmax()), probabilities[row], checked.labels
        best = int(np.where(wrong[row], -1, of_row).argmax())
        return f"likely {names[best]} ({of_row[best]:.2f}; {names[label]} {of_row[label]:.2f})"

    rows = np.flatnonzero(suspect)
    rows = rows[np.argsort(margin[rows], kind="stable")][: max(1, round(_MOST_LISTED * len(suspect)))]
    return _Doubts(rows, confidence[rows], note, float(suspect.mean()))


def _wrong_yes_no(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    if min(labels.sum(), (~labels).sum()) < _FEWEST_OF_CLASS:
        return np.zeros(len(labels), dtype=bool)
    return confident_joint_doubts(labels.astype(np.int64), np.stack([1 - probability, probability], axis=1))


def confident_joint_doubts(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Rows off the diagonal of the confident joint, (rows,).

    In these the likeliest class above its threshold is not the label. The threshold of a class is its mean probability in
    the rows that bear its label; a class without rows has none.
    labels: ids (rows,); probabilities: (rows, classes).   Source: Northcutt et al. 2021, arXiv:1911.00068, eq. 1.
    """
    classes = probabilities.shape[1]
    sums = np.bincount(labels, weights=probabilities[np.arange(len(labels)), labels], minlength=classes)
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    doubted = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)
    return doubted & (probabilities.argmax(axis=1) != labels)


def _far_values(checked: Checked, predictions: Predictions) -> list[Finding]:
    """Find labels of a regression that are many robust standard deviations off."""
    off = {name: np.asarray(checked.splits[name].targets) - values for name, values in predictions.by_split.items()}
    train = np.asarray(checked.splits["train"].targets)
    r2 = 1 - float(np.square(off["train"]).mean() / max(train.var(), 1e-12))
    if r2 < max(_LITTLE, 3 / len(train)):
        message = f"a cheap model hardly learns these labels (R2 {r2:.3f} out of fold), so it cannot judge them"
        return [_unknown(checked.splits["train"], message, {"r2": r2})]
    middle = np.median(off["train"])
    spread = 1.4826 * np.median(np.abs(off["train"] - middle))
    findings = []
    for name, residuals in off.items():
        far = np.abs(residuals - middle) / max(float(spread), 1e-12)
        rows = np.flatnonzero(far > _FAR)
        rows = rows[np.argsort(-far[rows], kind="stable")][: max(1, round(_MOST_LISTED * len(far)))]
        predicted = predictions.by_split[name]

        def note(row: int, predicted: np.ndarray = predicted, far: np.ndarray = far) -> str:
            return f"predicted {predicted[row]:.2f}, {far[row]:.1f} robust standard deviations off"

        if len(rows):
            doubts = _Doubts(rows, far[rows], note, float((far > _FAR).mean()))
            message = f"labels far from the predictions of a cheap model (out-of-fold R2 {r2:.3f})"
            findings.append(_finding(checked, name, doubts, "warning", message, {"r2": r2}))
    return findings
