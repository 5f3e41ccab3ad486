"""Near-duplicates within a split and across splits.

Texts that share most of their character 4-grams.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from nlp_ft.data.checks.duplicate_keys import KeyedRows
from nlp_ft.data.checks.finding import Checked, Finding
from nlp_ft.data.checks.near_duplicates.candidates import candidates
from nlp_ft.data.checks.near_duplicates.findings import near_leaks, near_repeats
from nlp_ft.data.checks.near_duplicates.minhash import Sketches, minima
from nlp_ft.data.checks.near_duplicates.shingles import jaccard, shingle_sets, shingles
from nlp_ft.data.checks.near_duplicates.texts import DistinctTexts, SimilarPairs

Progress = Callable[[int, int], None]

_SHORT, _SHORT_THRESHOLD = 24, 0.8  # shingles, about five words: below, few common words make a likeness
_BATCH = 1 << 18  # characters, or shingles, at a time
_SECOND = np.uint64(0x5851F42D4C957F2D)  # keeps shingles of the second text of a pair apart from those of the first


def near_duplicates(checked: Checked, threshold: float = 0.65, progress: Progress | None = None) -> list[Finding]:
    """Find texts that are nearly the same, across splits and within them.

    Findings: `near_leak` across splits, then `near_duplicates` within them. Texts equal by `text_key` are not compared. Two
    texts are nearly the same if the Jaccard similarity of their sets of shingles is at least `threshold`, and at least 0.8
    if one has fewer than 24; the similarity of two pairs of texts is that of their less similar side. Every pair reported
    has been compared exactly. Of the pairs just at the threshold of 0.65, 98 % are reported, at 0.7 99.7 %
    (`agreement_probability`). `progress`: called with the hundredths done, and 100.
    """
    texts = DistinctTexts.of(KeyedRows.of(checked))
    sketches = _sketches(texts, _part(progress, 0, 60))
    pairs = candidates(sketches, texts.splits, threshold, _part(progress, 60, 80))
    similarities = _similarities(texts, sketches.sizes, pairs, _part(progress, 80, 100))
    similar = SimilarPairs(texts, pairs, similarities, threshold).only(similarities >= threshold)
    return [*near_leaks(checked, similar), *near_repeats(checked, similar)]


def _part(progress: Progress | None, start: int, end: int) -> Progress:
    """Progress of one step, as a part of the whole from `start` to `end` hundredths."""

    def report(done: int, total: int) -> None:
        if progress:
            progress(start + (end - start) * done // total, 100)

    return report


def _sketches(texts: DistinctTexts, progress: Progress) -> Sketches:
    """The signature of every text, in batches of about 2^18 characters."""
    sketches = Sketches.empty(len(texts))
    batch: list[tuple[str, str | None]] = []
    characters = 0
    for number, (text, pair) in enumerate(texts.read(), 1):
        batch.append((text, pair))
        characters += len(text) + len(pair or "")
        if characters >= _BATCH or number == len(texts):
            _sketch(sketches, number - len(batch), batch)
            batch, characters = [], 0
            progress(number, len(texts))
    return sketches


def _sketch(sketches: Sketches, start: int, batch: list[tuple[str, str | None]]) -> None:
    hashes, counts = shingles([text for text, _ in batch])
    values = minima(hashes, counts)
    if batch[0][1] is not None:
        hashes, second = shingles([pair or "" for _, pair in batch])
        values = np.minimum(values, minima(hashes ^ _SECOND, second))
        counts = counts + second
    sketches.fill(start, values, counts)


def _similarities(texts: DistinctTexts, sizes: np.ndarray, pairs: np.ndarray, progress: Progress) -> np.ndarray:
    """The exact similarity of each pair; 0 if a text is too short to judge by it."""
    ends = np.cumsum(sizes[pairs].sum(1))
    edges = np.searchsorted(ends, np.arange(0, ends[-1:].sum() + _BATCH, _BATCH))
    similarities: list[float] = []
    for start, end in pairwise(np.unique([*edges, len(pairs)])):
        similarities += _compare(texts, pairs[start:end])
        progress(int(end), len(pairs))
    progress(1, 1)  # also where there was nothing to compare
    return np.array(similarities, float)


def _compare(texts: DistinctTexts, pairs: np.ndarray) -> list[float]:
    numbers = np.unique(pairs).tolist()
    read = [texts.rows.text(row) for row in texts.first[numbers].tolist()]
    sides = [shingle_sets([text for text, _ in read])]
    if read[0][1] is not None:
        sides.append(shingle_sets([pair or "" for _, pair in read]))
    sets = dict(zip(numbers, zip(*sides, strict=True), strict=True))
    return [min(map(_likeness, sets[first], sets[second])) for first, second in pairs.tolist()]


def _likeness(first: set[int], second: set[int]) -> float:
    similarity = jaccard(first, second)
    short = min(len(first), len(second)) < _SHORT
    return 0.0 if short and similarity < _SHORT_THRESHOLD else similarity
