"""MinHash signatures in bands.

They find texts that may be similar without comparing each with each.

Sources: Broder 1997, "On the resemblance and containment of documents" (MinHash); Leskovec, Rajaraman & Ullman, "Mining of
Massive Datasets", chapter 3 (banding); Li & König 2010, arXiv:0910.3349 (a few bits of each minimum).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

BANDS, ROWS = 32, 5
_CHUNK = 1 << 18
_ODD = np.random.default_rng(20).integers(0, 1 << 31, BANDS * ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)


def agreement_probability(similarity: float, bands: int = BANDS, rows: int = ROWS) -> float:
    """Probability that two texts agree in at least one band.

    1 - (1 - s^rows)^bands for a Jaccard similarity of s.
    """
    return 1 - (1 - similarity**rows) ** bands


def minima(hashes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The minimum of each text's hashes under BANDS * ROWS permutations of 32 bits.

    Returns: shape (permutations, texts). Two texts agree in a permutation with a probability of their Jaccard similarity.
    `hashes`: uint64, text after text, `counts` of each. A text without any has the greatest value everywhere.
    """
    values = np.full((len(_ODD), len(counts)), np.iinfo(np.uint32).max, np.uint32)
    filled = np.flatnonzero(counts)
    if len(filled):
        starts = (np.cumsum(counts) - counts)[filled]
        top = (hashes >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
        buffer = np.empty_like(top)
        for number, factor in enumerate(_ODD):
            values[number, filled] = np.minimum.reduceat(np.multiply(top, factor, out=buffer), starts)
    return values


@dataclass(frozen=True)
class Sketches:
    """Compact signatures of texts.

    `bands`: a 32-bit key for each band, (bands, texts). `bits`: 8 bits of each minimum, (texts, permutations). `sizes`:
    numbers of shingles, (texts,).
    """

    bands: np.ndarray
    bits: np.ndarray
    sizes: np.ndarray

    @classmethod
    def empty(cls, texts: int) -> Self:
        """Zeros for a number of texts, 292 bytes each."""
        return cls(
            np.zeros((BANDS, texts), np.uint32), np.zeros((texts, BANDS * ROWS), np.uint8), np.zeros(texts, np.int32)
        )

    def fill(self, start: int, values: np.ndarray, sizes: np.ndarray) -> None:
        """Set the signatures of the texts from number `start` on, from their minima."""
        end = start + len(sizes)
        keys = np.zeros((BANDS, len(sizes)), np.uint64)
        for row in values.reshape(BANDS, ROWS, -1).transpose(1, 0, 2):
            keys = (keys ^ row) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        self.bands[:, start:end] = keys >> np.uint64(32)
        self.bits[start:end] = (values >> np.uint32(8)).astype(np.uint8).T
        self.sizes[start:end] = sizes

    def estimate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Estimated Jaccard similarity of each pair of texts.

        first, second: text numbers, (pairs,). Its standard error is at most 0.04.
        """
        chunks = (slice(start, start + _CHUNK) for start in range(0, len(first), _CHUNK))
        shares = [(self.bits[first[c]] == self.bits[second[c]]).mean(1, dtype=np.float32) for c in chunks]
        agree = np.concatenate([*shares, np.zeros(0, np.float32)])
        return (agree - 1 / 256) / (1 - 1 / 256)
