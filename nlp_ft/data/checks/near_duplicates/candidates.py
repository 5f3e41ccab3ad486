"""Pairs of texts to compare.

Those that share a bucket of the banded signatures, and never many more than there are texts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlp_ft.data.checks.near_duplicates.minhash import BANDS, ROWS, Sketches

_ALL_PAIRS = 8  # texts in a bucket; in a larger one, each is linked to the first ones
_ENOUGH, _SURE = 9, 3  # a text looks for 3 sure matches in each split, or 9 likely ones
_LOW = np.int64(0xFFFFFFFF)


def candidates(
    sketches: Sketches, splits: np.ndarray, threshold: float, progress: Callable[[int, int], None]
) -> np.ndarray:
    """Find pairs of texts that agree in a band and may reach the threshold.

    Returns: text numbers, lower first, sorted, shape (pairs, 2). `splits`: for each text the bits of the splits that contain
    it. Pairs are left out whose estimate is three standard errors below the threshold. A thousand copies of one
    template do not become a million pairs: in a bucket of more than 8 texts, each is paired with the first one of each
    split and with those that agree in the next band as well; and a text with enough likely matches in a split looks for no
    more in that split. `progress`: called with the bands done and all bands.
    """
    error = (threshold * (1 - threshold) / (BANDS * ROWS)) ** 0.5
    matches = _MatchCounts(splits)
    pairs = np.zeros(0, np.int64)
    for band in range(BANDS):
        new = np.setdiff1d(_agreeing(sketches, splits, band), pairs, assume_unique=True)
        new = new[matches.wanted(new)]
        estimates = sketches.estimate(new >> 32, new & _LOW)
        likely = estimates >= threshold - 3 * error
        new, sure = new[likely], estimates[likely] >= threshold + error
        matches.add(new, np.where(sure, _SURE, 1))
        pairs = np.union1d(pairs, new)
        progress(band + 1, BANDS)
    return np.stack([pairs >> 32, pairs & _LOW], axis=1)


class _MatchCounts:
    """Number of likely matches of each text in each split.

    A text with enough of them in a split looks for no more there.
    """

    def __init__(self, splits: np.ndarray) -> None:
        self.splits = splits
        self.counts = np.zeros((3, len(splits)), np.int32)

    def wanted(self, pairs: np.ndarray) -> np.ndarray:
        """Whether either text of a pair still looks for matches in a split of the other."""
        lower, higher = pairs >> 32, pairs & _LOW
        looking = np.packbits(self.counts < _ENOUGH, axis=0, bitorder="little")[0]
        return (looking[lower] & self.splits[higher] | looking[higher] & self.splits[lower]) > 0

    def add(self, pairs: np.ndarray, weights: np.ndarray) -> None:
        """Count each text of a pair as a match of the other."""
        for text, other in ((pairs >> 32, pairs & _LOW), (pairs & _LOW, pairs >> 32)):
            for bit, count in enumerate(self.counts):
                np.add.at(count, text, weights * (self.splits[other] >> bit & 1))


def _agreeing(sketches: Sketches, splits: np.ndarray, band: int) -> np.ndarray:
    """Pairs linked by a band, each once, as lower * 2^32 + higher."""
    texts = np.flatnonzero(sketches.sizes)
    keys = sketches.bands[band, texts].astype(np.uint64)
    finer = keys << np.uint64(32) | sketches.bands[(band + 1) % BANDS, texts]
    left, right = (np.concatenate(side) for side in zip(*_links(keys, texts, splits, finer), strict=True))
    return np.unique(np.minimum(left, right) << 32 | np.maximum(left, right))


def _links(
    keys: np.ndarray, texts: np.ndarray, splits: np.ndarray, finer: np.ndarray | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Link texts with equal keys.

    All with all in a small bucket. A large one is linked as stars, and by the finer keys.
    """
    order = np.argsort(keys, kind="stable")
    keys, texts = keys[order], texts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sizes = np.diff(np.append(first, len(keys)))
    small = np.repeat(sizes <= _ALL_PAIRS, sizes)
    links = []
    for step in range(1, _ALL_PAIRS):
        linked = np.flatnonzero((keys[step:] == keys[:-step]) & small[step:])
        links.append((texts[linked], texts[linked + step]))
    if not small.all():
        links += _stars(texts[~small], sizes[sizes > _ALL_PAIRS], splits)
        if finer is not None:
            links += _links(finer[order][~small], texts[~small], splits, None)
    return links


def _stars(texts: np.ndarray, sizes: np.ndarray, splits: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Link each text of a bucket with the bucket's first text of each split.

    `texts`: one bucket after the other, of these `sizes`.
    """
    indices = np.arange(len(texts))
    links = []
    for bit in (1, 2, 4):
        firsts = np.minimum.reduceat(np.where(splits[texts] & bit, indices, len(texts)), np.cumsum(sizes) - sizes)
        centre = np.repeat(firsts, sizes)
        linked = np.flatnonzero((centre < len(texts)) & (centre != indices))
        links.append((texts[centre[linked]], texts[linked]))
    return links
