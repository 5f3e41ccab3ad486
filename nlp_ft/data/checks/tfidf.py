"""Sparse TF-IDF of hashed words, word pairs and character 4-grams.

Without a vocabulary; texts are hashed as whole arrays.
"""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack

_CHUNK = 1_000_000  # characters worked on at a time
_WORD_BITS, _CHARACTER_BITS = 21, 20
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 2**64)
_ALONE = ((0x0E00, 0x0E7F), (0x3040, 0x30FF), (0x3400, 0x9FFF))  # Thai, Japanese, Chinese: no spaces between words
Matrix = Any  # a csr_matrix, whose shape, slices and sums have no types
Grams = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class TfIdf:
    """Sublinear TF-IDF; each block of a row has length 1.

    Columns that only one row of train has are left out. Weights come from the rows that `fit_transform` sees; it knows no
    labels. Texts are cut to `length` characters. `characters` adds character 4-grams, which know misspelt and inflected
    words and take most of the memory.
    """

    def __init__(self, length: int, characters: bool) -> None:
        self._length = length
        self._counters = (count_words, count_characters) if characters else (count_words,)
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []

    def fit_transform(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Matrix:
        """Learn the weights from these rows.

        Returns: float32 of shape (rows, kept columns).
        """
        self._blocks, blocks = [], []
        for counts in self._counts(texts, pairs):
            rows_with = np.bincount(counts.indices, minlength=counts.shape[1])
            idf = (np.log((1 + counts.shape[0]) / (1 + rows_with)) + 1).astype(np.float32)
            self._blocks.append((idf, np.flatnonzero(rows_with > 1)))
            blocks.append(_weigh(counts, *self._blocks[-1]))
        return hstack(blocks, "csr") if len(blocks) > 1 else blocks[0]

    def transform(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Matrix:
        """Return other rows by the same weights; words that train never had are left out."""
        counted = zip(self._counts(texts, pairs), self._blocks, strict=True)
        return hstack([_weigh(counts, *block) for counts, block in counted], "csr")

    def _counts(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[Matrix]:
        for side in (texts,) if pairs is None else (texts, pairs):
            for count in self._counters:
                yield count(text[: self._length] for text in side)


def count_words(texts: Iterable[str]) -> Matrix:
    """Count the words and pairs of neighbouring words of each text, by their hash.

    Returns: float32, (rows, 2**21). A word is letters, digits and marks in any case; a character of Chinese, Japanese or
    Thai is a word by itself.
    """
    return _counted(texts, _words, _WORD_BITS)


def count_characters(texts: Iterable[str]) -> Matrix:
    """Count the character 4-grams of each text, by their hash.

    Those with no space within. Returns: float32, (rows, 2**20).
    """
    return _counted(texts, _characters, _CHARACTER_BITS)


def _weigh(counts: Matrix, idf: np.ndarray, kept: np.ndarray) -> Matrix:
    counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0], dtype=np.int32), np.diff(counts.indptr))
    norms = np.sqrt(np.bincount(rows, weights=counts.data**2, minlength=counts.shape[0])).astype(np.float32)
    counts.data /= norms[rows]
    return counts[:, kept]


def _counted(texts: Iterable[str], grams: Grams, bits: int) -> Matrix:
    blocks = []
    for chunk in _chunks(texts):
        lowered = [text.lower() for text in chunk]
        codes = np.frombuffer("".join(lowered).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        rows, hashes = grams(codes, np.repeat(np.arange(len(lowered)), [len(text) for text in lowered]))
        columns = (hashes >> np.uint64(64 - bits)).astype(np.int32)
        ones = np.ones(len(rows), dtype=np.float32)
        blocks.append(csr_matrix((ones, (rows.astype(np.int32), columns)), shape=(len(lowered), 1 << bits)))
    return vstack(blocks, "csr") if blocks else csr_matrix((0, 1 << bits), dtype=np.float32)


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk, size = [], 0
    for text in texts:
        chunk.append(text)
        size += len(text) + 1
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _words(codes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and hash of each word and of each pair of neighbouring words.

    Words are hashed as polynomials, by differences of a cumulative sum.
    """
    if not len(codes):
        return rows, rows.astype(np.uint64)
    kind = _kinds()[codes]
    breaks = (rows[1:] != rows[:-1]) | (kind[1:] != 1) | (kind[:-1] != 1)
    begins = np.flatnonzero((kind > 0) & np.concatenate(([True], breaks)))
    ends = np.flatnonzero((kind > 0) & np.concatenate((breaks, [True]))) + 1
    powers, inverses = _powers(len(codes))
    sums = np.concatenate((np.zeros(1, dtype=np.uint64), np.cumsum((codes + np.uint64(1)) * powers)))
    words = _mixed((sums[ends] - sums[begins]) * inverses[begins])
    word_rows = rows[begins]
    together = word_rows[1:] == word_rows[:-1]
    pairs = _mixed(words[:-1][together] * np.uint64(_BASE) + words[1:][together])
    return np.concatenate((word_rows, word_rows[1:][together])), np.concatenate((words, pairs))


def _characters(codes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and hash of each character 4-gram of a row whose inner two are no spaces.

    A run of spaces counts as one space.
    """
    if not len(codes):
        return rows, rows.astype(np.uint64)
    edges = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    codes = np.append(np.insert(codes, edges, 32), 32)  # a space before, between and after rows
    rows = np.append(np.insert(rows, edges, rows[edges]), rows[-1])
    spaces = _kinds()[codes] == -1
    kept = ~(spaces & np.concatenate(([False], spaces[:-1])))
    codes, rows, spaces = np.where(spaces, 32, codes)[kept].astype(np.uint64), rows[kept], spaces[kept]
    inner = ~spaces[1:-2] & ~spaces[2:-1]
    hashes = np.zeros(len(inner), dtype=np.uint64)
    for offset in range(4):
        hashes = hashes * np.uint64(_BASE) + codes[offset : offset + len(inner)]
    return rows[1:-2][inner], _mixed(hashes[inner])


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """Spread every bit of a hash over all its bits, most of all the high ones."""
    hashes = (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return (hashes ^ (hashes >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first powers of the base and of its inverse, modulo 2**64."""
    powers, inverses = _all_powers(1 << max(length, _CHUNK).bit_length())
    return powers[:length], inverses[:length]


@functools.lru_cache(maxsize=1)
def _all_powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    def powers(base: int) -> np.ndarray:
        factors = np.full(length, base, dtype=np.uint64)
        factors[0] = 1
        return np.cumprod(factors)

    return powers(_BASE), powers(_INVERSE)


@functools.lru_cache(maxsize=1)
def _kinds() -> np.ndarray:
    """Kind of every code point.

    1: part of a word; 2: a word by itself; -1: a space; 0: anything else.
    """
    kinds = np.zeros(sys.maxunicode + 1, dtype=np.int8)
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character)[0] in "LMN" or character == "_":
            kinds[code] = 1
        elif character.isspace():
            kinds[code] = -1
    for first, last in _ALONE:
        kinds[first : last + 1] *= kinds[first : last + 1] * 2
    return kinds
