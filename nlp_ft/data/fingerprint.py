"""The record of the splits: fingerprint, classes without rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from nlp_ft.data.rows import Rows
from nlp_ft.data.schema.problem_type import MULTI, REGRESSION
from nlp_ft.utils import warning


def fingerprint(splits: dict[str, Rows], labels: list[str], problem: str, sources: dict[str, str]) -> dict[str, Any]:
    """Sources, rows, rows per class and sha256 by split.

    Equal for equal rows, whatever the machine and file format.
    """
    return {
        "sources": sources,
        "rows": {split: len(rows) for split, rows in splits.items()},
        "classes": {split: class_counts(rows, labels, problem) for split, rows in splits.items()} if labels else {},
        "sha256": {split: _sha256(rows, labels, problem) for split, rows in splits.items()},
    }


def class_counts(rows: Rows, labels: list[str], problem: str) -> dict[str, int]:
    """Rows of each class, in the order of `labels`.

    A row of several labels counts for each of them.
    """
    counts = Counter(name for label in rows.labels for name in _names(label, labels, problem))
    return {name: counts[name] for name in labels}


def warnings(splits: dict[str, Rows], labels: list[str], problem: str) -> list[str]:
    """A note on classes without training rows, or none."""
    if not labels:
        return []
    empty = [name for name, count in class_counts(splits["train"], labels, problem).items() if not count]
    if not empty:
        return []
    return [warning(f"no training rows for {', '.join(empty)}; the model cannot learn what it does not see")]


def _names(label: Any, labels: list[str], problem: str) -> list[str]:
    if problem == MULTI:
        return [name for name, on in zip(labels, label, strict=True) if on]
    return [labels[label]]


def _sha256(rows: Rows, labels: list[str], problem: str) -> str:
    """Hash one JSON line a row: text, pair (or null), and label.

    The label is written by name, so that the hash outlives a change of the ids.
    """
    digest = hashlib.sha256()
    pairs = rows.cells("text_pair") or [None] * len(rows)
    for text, pair, label in zip(rows.data["text"], pairs, rows.labels, strict=True):
        named = label if problem == REGRESSION else _names(label, labels, problem)
        digest.update(json.dumps([text, pair, named]).encode() + b"\n")
    return digest.hexdigest()
