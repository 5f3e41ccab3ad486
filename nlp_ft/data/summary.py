"""What is said and recorded about the splits: fingerprint, blank texts, texts on two sides, classes without rows."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

from nlp_ft.data.problem import MULTI, REGRESSION
from nlp_ft.data.rows import Rows


def fingerprint(splits: dict[str, Rows], labels: list[str], problem: str, sources: dict[str, str]) -> dict[str, Any]:
    """Sources, rows, rows per class and sha256 by split; equal for equal rows, whatever the machine and file format."""
    return {
        "sources": sources,
        "rows": {split: len(rows) for split, rows in splits.items()},
        "classes": {split: class_counts(rows, labels, problem) for split, rows in splits.items()} if labels else {},
        "sha256": {split: _sha256(rows, labels, problem) for split, rows in splits.items()},
    }


def class_counts(rows: Rows, labels: list[str], problem: str) -> dict[str, int]:
    """Rows of each class, in the order of `labels`; a row of several labels counts for each of them."""
    counts = Counter(name for label in rows.labels for name in _names(label, labels, problem))
    return {name: counts[name] for name in labels}


def warnings(splits: dict[str, Rows], labels: list[str], problem: str) -> list[str]:
    """Notes on what is likely wrong with the rows: blank texts, texts on both sides, classes without rows."""
    notes = []
    for split, rows in splits.items():
        if blank := len(rows.blank()):
            notes.append(f"warning: {_texts(blank)} in {split} blank; kept as they are")
    in_train = set(splits["train"].keys)
    for split, rows in splits.items():
        shared = sum(key in in_train for key in rows.keys)
        if split != "train" and shared:
            notes.append(f"warning: {_texts(shared)} in {split} also in train, so its figures flatter the model")
    if labels and (
        empty := [name for name, count in class_counts(splits["train"], labels, problem).items() if not count]
    ):
        notes.append(f"warning: no training rows for {', '.join(empty)}; the model cannot learn what it does not see")
    return notes


def _texts(count: int) -> str:
    return "1 text is" if count == 1 else f"{count} texts are"


def _names(label: Any, labels: list[str], problem: str) -> list[str]:
    if problem == MULTI:
        return [name for name, on in zip(labels, label, strict=True) if on]
    return [labels[label]]


def _sha256(rows: Rows, labels: list[str], problem: str) -> str:
    """Over one JSON line a row: text, pair (or null), and label by name, so that it outlives a change of the ids."""
    digest = hashlib.sha256()
    for place, text in enumerate(rows.texts):
        label = rows.labels[place] if problem == REGRESSION else _names(rows.labels[place], labels, problem)
        pair = None if rows.pairs is None else rows.pairs[place]
        digest.update(json.dumps([text, pair, label]).encode() + b"\n")
    return digest.hexdigest()
