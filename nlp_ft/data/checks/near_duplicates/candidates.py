"""Which pairs of texts to compare: those that share a bucket of the banded signatures, and never many more than texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nlp_ft.data.checks.near_duplicates.minhash import BANDS, ROWS, Sketches

_ALL_PAIRS = 8  # texts in a bucket; in a larger one, each is linked to the first ones
_ENOUGH, _SURE = 9, 3  # a text looks for 3 sure twins in each split, or 9 likely ones
_LOW = np.int64(0xFFFFFFFF)


def candidates(
    sketches: Sketches, splits: np.ndarray, threshold: float, progress: Callable[[int, int], None]
) -> np.ndarray:
    """Pairs of text numbers (lower first, sorted, shape (pairs, 2)) that agree in a band and may reach the threshold.

    `splits`: for each text the bits of the splits it stands in. Pairs are left out whose estimate is three standard errors
    below the threshold. A table of a thousand copies of one template does not become a million pairs: of a bucket of more
    than 8 texts, each is paired with the first one of each split and with those that agree in the next band as well; and
    a text that has found enough twins in a split is paired with no more of that split for its own sake. `progress`: called
    with the bands done and all bands.
    """
    error = (threshold * (1 - threshold) / (BANDS * ROWS)) ** 0.5
    twins = _Twins(splits)
    found = np.zeros(0, np.int64)
    for band in range(BANDS):
        new = np.setdiff1d(_agreeing(sketches, splits, band), found, assume_unique=True)
        new = new[twins.wanted(new)]
        estimates = sketches.estimate(new >> 32, new & _LOW)
        likely = estimates >= threshold - 3 * error
        new, sure = new[likely], estimates[likely] >= threshold + error
        twins.add(new, np.where(sure, _SURE, 1))
        found = np.union1d(found, new)
        progress(band + 1, BANDS)
    return np.stack([found >> 32, found & _LOW], axis=1)


class _Twins:
    """How many likely twins each text has in each split, and so in which splits it still looks for some."""

    def __init__(self, splits: np.ndarray) -> None:
        self.splits = splits
        self.counts = np.zeros((3, len(splits)), np.int32)

    def wanted(self, pairs: np.ndarray) -> np.ndarray:
        """Whether one of the two still looks for twins where the other stands."""
        one, other = pairs >> 32, pairs & _LOW
        looking = np.packbits(self.counts < _ENOUGH, axis=0, bitorder="little")[0]
        return (looking[one] & self.splits[other] | looking[other] & self.splits[one]) > 0

    def add(self, pairs: np.ndarray, weights: np.ndarray) -> None:
        """Count both of each pair as the other's twin."""
        for one, other in ((pairs >> 32, pairs & _LOW), (pairs & _LOW, pairs >> 32)):
            for bit, count in enumerate(self.counts):
                np.add.at(count, one, weights * (self.splits[other] >> bit & 1))


def _agreeing(sketches: Sketches, splits: np.ndarray, band: int) -> np.ndarray:
    """Pairs linked by a band, each once, as lower * 2^32 + higher."""
    texts = np.flatnonzero(sketches.sizes)
    keys = sketches.bands[band, texts].astype(np.uint64)
    finer = keys << np.uint64(32) | sketches.bands[(band + 1) % BANDS, texts]
    one, other = (np.concatenate(side) for side in zip(*_links(keys, texts, splits, finer), strict=True))
    return np.unique(np.minimum(one, other) << 32 | np.maximum(one, other))


def _links(
    keys: np.ndarray, texts: np.ndarray, splits: np.ndarray, finer: np.ndarray | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Texts with equal keys, all with all in small buckets; large ones as stars, and taken apart by the finer keys."""
    order = np.argsort(keys, kind="stable")
    keys, texts = keys[order], texts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sizes = np.diff(np.append(first, len(keys)))
    small = np.repeat(sizes <= _ALL_PAIRS, sizes)
    links = []
    for step in range(1, _ALL_PAIRS):
        at = np.flatnonzero((keys[step:] == keys[:-step]) & small[step:])
        links.append((texts[at], texts[at + step]))
    if not small.all():
        links += _stars(texts[~small], sizes[sizes > _ALL_PAIRS], splits)
        if finer is not None:
            links += _links(finer[order][~small], texts[~small], splits, None)
    return links


def _stars(texts: np.ndarray, sizes: np.ndarray, splits: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each text of each bucket (one bucket after the other, of these sizes) with the bucket's first text of each split."""
    indices = np.arange(len(texts))
    links = []
    for bit in (1, 2, 4):
        firsts = np.minimum.reduceat(np.where(splits[texts] & bit, indices, len(texts)), np.cumsum(sizes) - sizes)
        centre = np.repeat(firsts, sizes)
        linked = np.flatnonzero((centre < len(texts)) & (centre != indices))
        links.append((texts[centre[linked]], texts[linked]))
    return links
