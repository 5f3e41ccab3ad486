"""Label leakage: columns that predict the label, words of one class alone."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import cast

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from nlp_ft.data.checks.duplicate_keys import example
from nlp_ft.data.checks.finding import MOST_EXAMPLES, Checked, Example, Finding, Label, Split

_SAMPLE = 20_000  # rows of train that are looked at
_TELLS = 0.95  # of the rows, from which a column gives the label away
_GAIN = 0.5  # of what the majority class leaves open, at least
_FEWEST_ROWS = 20  # with a word, below which it may be an accident
_FEWEST_SHARE = 0.02  # of a class's rows
_LEAVES = 8  # ranges of a column of numbers
_WORD = re.compile(r"\S+")
_EDGE = 3  # words at either end of a text, where labels are left behind


def leakage(checked: Checked, seed: int = 42) -> list[Finding]:
    """Find columns that predict the label out of sample, and words of one class alone.

    Words are looked for at the ends of texts. Of regression the targets are cut into five ranges of equal count; of
    multi-label rows the set of labels is one class. At most 20 000 rows of train are looked at.
    """
    train = checked.splits["train"]
    indices = list(range(len(train)))
    if len(indices) > _SAMPLE:
        indices = sorted(random.Random(seed).sample(indices, _SAMPLE))
    classes = _classes(checked, [train.labels[row] for row in indices])
    findings = []
    for name, cells in train.others.items():
        finding = _column(checked, train, name, [cells[row] for row in indices], classes, indices)
        findings += [finding] if finding is not None else []
    return findings + ([] if checked.problem_type == "regression" else _words(checked, train, classes, indices))


def _classes(checked: Checked, labels: Sequence[Label]) -> list[str]:
    if checked.problem_type != "regression":
        return [checked.label_name(label) for label in labels]
    targets = cast("Sequence[float]", labels)
    ranked = sorted(range(len(labels)), key=lambda row: targets[row])
    fifths = [""] * len(labels)
    for rank, row in enumerate(ranked):
        fifths[row] = f"the range {5 * rank // len(labels) + 1} of 5"
    return fifths


def _column(
    checked: Checked, train: Split, name: str, cells: list[object], classes: list[str], indices: list[int]
) -> Finding | None:
    """Judge a column: by its values, or by ranges of its numbers."""
    majority = Counter(classes).most_common(1)[0][1] / len(classes)
    values = [str(cell) for cell in cells]
    accuracies = {"value": _accuracy(values, classes)} if len(set(values)) <= len(values) / 2 else {}
    if numbers := _numbers(values):
        accuracies["range"] = _accuracy_by_ranges(numbers, classes)
    if not accuracies:
        return None
    way, accuracy = max(accuracies.items(), key=lambda item: item[1])
    if accuracy < _TELLS or accuracy < majority + _GAIN * (1 - majority):
        return None
    shown: dict[str, int] = {}
    for row, label in enumerate(classes):
        shown.setdefault(label, row)
    examples = [
        Example(train.where(indices[row]), f"{name}: {values[row]}", label)
        for label, row in list(shown.items())[:MOST_EXAMPLES]
    ]
    return Finding(
        "column_gives_label_away",
        "warning",
        "train",
        0,
        len(train),
        f"column '{name}' predicts the label of {accuracy:.1%} of rows by its {way} (the majority class: {majority:.1%})",
        "do not add it to the texts (it is not in them now), unless its value is known before the label is",
        examples=examples,
        measures={"accuracy": accuracy, "majority": majority},
    )


def _numbers(values: list[str]) -> list[float] | None:
    """Values as numbers, nan for some; None where more than a twentieth are none."""
    numbers = []
    for value in values:
        try:
            numbers.append(float(value))
        except ValueError:
            numbers.append(math.nan)
    finite = sum(map(math.isfinite, numbers))
    return numbers if finite >= 0.95 * len(values) else None


def _accuracy_by_ranges(numbers: list[float], classes: Sequence[str]) -> float:
    """Accuracy of a small tree over the number, by two halves of the rows."""
    column = np.nan_to_num(np.asarray(numbers), posinf=0.0, neginf=0.0)[:, None]
    right = 0
    for half in (0, 1):
        tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES, min_samples_leaf=5, random_state=0)
        tree.fit(column[half::2], classes[half::2])
        right += int((tree.predict(column[1 - half :: 2]) == np.asarray(classes[1 - half :: 2])).sum())
    return right / len(classes)


def _accuracy(keys: Sequence[str], classes: Sequence[str]) -> float:
    """Accuracy on half of the rows of each key's commonest class in the other half."""
    right = 0
    for half in (0, 1):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for row in range(half, len(keys), 2):
            counts[keys[row]][classes[row]] += 1
        best = {key: count.most_common(1)[0][0] for key, count in counts.items()}
        right += sum(best.get(keys[row]) == classes[row] for row in range(1 - half, len(keys), 2))
    return right / len(keys)


def _words(checked: Checked, train: Split, classes: list[str], indices: list[int]) -> list[Finding]:
    """Find words at the ends of texts of one class that no other class has anywhere."""
    anywhere: dict[str, Counter[str]] = defaultdict(Counter)
    ends: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    first: dict[tuple[str, str], int] = {}
    for row, label in zip(indices, classes, strict=True):
        words = _WORD.findall(train.texts[row])
        for word in set(words):
            anywhere[word][label] += 1
        for side, some in (("start", words[:_EDGE]), ("end", words[-_EDGE:])):
            for word in set(some):
                ends[word][side, label] += 1
                first.setdefault((word, side), row)
    sizes = Counter(classes)
    findings = []
    for word, counts in ends.items():
        (side, label), count = counts.most_common(1)[0]
        enough = max(_FEWEST_ROWS, _FEWEST_SHARE * sizes[label])
        if count < enough or len(anywhere[word]) > 1 or count < 0.9 * anywhere[word][label] or len(sizes) < 2:
            continue
        findings.append(_word_finding(checked, train, word, side, label, count, len(indices), first[word, side]))
    return findings[:MOST_EXAMPLES]


def _word_finding(
    checked: Checked, train: Split, word: str, side: str, label: str, count: int, looked_at: int, row: int
) -> Finding:
    return Finding(
        "word_gives_label_away",
        "warning",
        "train",
        count,
        looked_at,
        f"'{word}' is at the {side} of texts with the label '{label}' and in no text of another label",
        "the label seems to be written in the text; take it out, or the model will learn nothing else",
        examples=[example(checked, train, row, "")],
        measures={"rows": float(count)},
    )
