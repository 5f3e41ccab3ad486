"""Distribution of the labels: rare and absent classes, drift between splits."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Protocol, cast

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from nlp_ft.data.checks.finding import Checked, Finding
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION

_FEW_ROWS = 10  # of a class, below which it is hardly learned
_RARE = 0.1  # of an even share, below which a class is rare
_SIGNIFICANCE = 0.001  # p below which a difference is no accident ...
_DRIFT = 0.05  # ... and the share of rows in another class from which it matters,
_GAP = 0.1  # or of targets: the largest gap of two cumulative shares
_NAMED = 5  # classes that a message names


class _TestResult(Protocol):
    """Result of a statistical test of scipy."""

    statistic: float
    pvalue: float


def shape(checked: Checked) -> list[Finding]:
    """Find rare classes of train, classes without rows, drift between splits.

    Drift: a chi-square test (of several labels: one each) below p = 0.001 and 5 % of rows in another class, so that a great
    many rows alone are no alarm; of targets a Kolmogorov-Smirnov test, and a gap of 0.1.
    """
    if checked.problem_type == REGRESSION:
        return _target_drift(checked)
    counts = {name: _counts(checked, name) for name in checked.splits}
    return [*_rare_classes(checked, counts["train"]), *_absent_classes(checked, counts), *_class_drift(checked, counts)]


def _counts(checked: Checked, split: str) -> np.ndarray:
    """Rows of each class; a row of several labels counts for each of them."""
    if checked.problem_type == MULTI:
        total = np.zeros(len(checked.labels), dtype=np.int64)
        for label in checked.splits[split].labels:
            total += np.asarray(label) > 0
        return total
    rows = Counter(checked.splits[split].class_ids)
    return np.array([rows[number] for number in range(len(checked.labels))])


def _rare_classes(checked: Checked, counts: np.ndarray) -> list[Finding]:
    floor = max(_FEW_ROWS, _RARE * counts.mean())
    rare = [int(number) for number in np.argsort(counts, kind="stable") if 0 < counts[number] < floor]
    if not rare:
        return []
    named = ", ".join(f"'{checked.labels[number]}' {counts[number]}" for number in rare[:_NAMED])
    few = any(counts[number] < _FEW_ROWS for number in rare)
    more = f"label more rows, or merge classes: fewer than {_FEW_ROWS} rows are hardly learned; " if few else ""
    return [
        Finding(
            "rare_classes",
            "warning" if few else "note",
            "train",
            int(counts[rare].sum()),
            len(checked.splits["train"]),
            f"{len(rare)} of {len(counts)} classes are rare: rows of {named}{', ...' if len(rare) > _NAMED else ''}",
            f"{more}judge by macro-F1 and the table of classes, not by accuracy; --class_weights balanced raises their weight",
            measures={"rarest_share": float(counts[rare].min() / counts.sum()), "classes": float(len(counts))},
        )
    ]


def _absent_classes(checked: Checked, counts: dict[str, np.ndarray]) -> list[Finding]:
    findings = []
    for name, rows in counts.items():
        absent = [label for label, count in zip(checked.labels, rows, strict=True) if not count]
        if not absent:
            continue
        named = ", ".join(f"'{label}'" for label in absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
        why = "the model cannot learn what it does not see" if name == "train" else f"{name} does not measure them"
        findings.append(
            Finding(
                "absent_classes",
                "warning",
                name,
                0,
                len(checked.splits[name]),
                f"no row of {named}",
                f"add some: {why}",
                measures={"absent": float(len(absent))},
            )
        )
    return findings


def _class_drift(checked: Checked, counts: dict[str, np.ndarray]) -> list[Finding]:
    findings = []
    for first, second in combinations(counts, 2):
        sizes = np.array([len(checked.splits[first]), len(checked.splits[second])])
        both = np.stack([counts[first], counts[second]])
        if checked.problem_type == MULTI:  # each label against its absence
            tables = [np.stack([column, sizes - column], axis=1) for column in both.T]
        else:
            tables = [both[:, both.sum(axis=0) > 0]]
        tests = [_difference(table) for table in tables]
        gap, p = max(tests, default=(0.0, 1.0))
        if p * len(tables) >= _SIGNIFICANCE or gap < _DRIFT:
            continue
        shares = both / sizes[:, None]
        most = int(np.abs(shares[0] - shares[1]).argmax())
        shift = f"'{checked.labels[most]}' is {shares[0][most]:.1%} of {first} and {shares[1][most]:.1%} of {second}"
        measures = {"gap": gap, "p": p}
        findings.append(_drift(checked, (first, second), f"the shares of the classes differ: {shift}", measures))
    return findings


def _difference(table: np.ndarray) -> tuple[float, float]:
    """Share of rows that would have to change class for alike counts, and the p-value."""
    if table.shape[1] < 2 or not table.sum(axis=0).all() or not table.sum(axis=1).all():
        return 0.0, 1.0
    shares = table / table.sum(axis=1, keepdims=True)
    test = cast("_TestResult", chi2_contingency(table))
    return float(np.abs(shares[0] - shares[1]).sum() / 2), float(test.pvalue)


def _target_drift(checked: Checked) -> list[Finding]:
    findings = []
    for first, second in combinations(checked.splits, 2):
        targets = [np.asarray(list(checked.splits[name].targets), dtype=float) for name in (first, second)]
        test = cast("_TestResult", ks_2samp(targets[0], targets[1]))
        gap, p = float(test.statistic), float(test.pvalue)
        if p < _SIGNIFICANCE and gap >= _GAP:
            medians = [
                f"{np.median(values):.4g} in {name}" for values, name in zip(targets, (first, second), strict=True)
            ]
            message = f"the distributions of the targets differ: their median is {' and '.join(medians)}"
            findings.append(_drift(checked, (first, second), message, {"kolmogorov_smirnov": gap, "p": p}))
    return findings


def _drift(checked: Checked, splits: tuple[str, str], message: str, measures: dict[str, float]) -> Finding:
    return Finding(
        "label_drift",
        "warning",
        "/".join(splits),
        0,
        len(checked.splits[splits[0]]),
        message,
        "find out how the splits were made; figures on one do not hold for the other (splits made by nlp_ft are stratified)",
        measures=measures,
    )
