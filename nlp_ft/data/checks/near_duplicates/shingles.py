"""Character 4-grams (shingles) of texts, as 64-bit hashes."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

LENGTH = 4
_REMOVED, _SPACE, _LETTER = 0, 1, 2
_WIDE = 0x2E80  # from here on stand Han, kana and Hangul, where a character says about as much as two letters
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def shingles(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash every 4 consecutive characters of each text.

    Returns: hashes, uint64, one text after the other, and how many each text has. Texts count as ` their words with one
    space between `: lower-case, HTML entities decoded, NFKC, anything but letters, marks and digits a space, apostrophes
    and invisible characters nothing. So case, punctuation, quotes and emoji do not count. Han, kana and Hangul are doubled.
    A text of one letter has none; a shingle comes as often as it occurs. Equal hashes are equal shingles but for a
    probability of 2^-64.
    """
    padded = [f" {_plain(text)} " for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    owners = np.repeat(np.arange(len(padded)), [len(text) for text in padded])
    kinds = _kinds()[codes]
    codes, owners, kinds = (array[kinds != _REMOVED] for array in (codes, owners, kinds))
    letter = kinds == _LETTER
    kept = letter.copy()
    kept[1:] |= letter[:-1] | (owners[1:] != owners[:-1])
    kept[:1] = True
    codes, owners = np.where(letter, codes, ord(" "))[kept].astype(np.uint64), owners[kept]
    if codes.max(initial=0) >= _WIDE:
        times = 1 + (codes >= _WIDE)
        codes, owners = np.repeat(codes, times), np.repeat(owners, times)
    whole = owners[: 1 - LENGTH] == owners[LENGTH - 1 :]
    return _hashes(codes)[whole], np.bincount(owners[: 1 - LENGTH][whole], minlength=len(texts))


def shingle_sets(texts: Sequence[str]) -> list[set[int]]:
    """The set of shingles of each text."""
    hashes, counts = shingles(texts)
    ends = np.cumsum(counts)
    return [set(hashes[end - count : end].tolist()) for end, count in zip(ends, counts, strict=True)]


def jaccard(first: set[int], second: set[int]) -> float:
    """Shared elements by all elements of two sets; 1 for two empty ones."""
    common = len(first & second)
    return common / (len(first) + len(second) - common) if first or second else 1.0


def _plain(text: str) -> str:
    if "&" in text:
        text = html.unescape(text)
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()


@cache
def _kinds() -> np.ndarray:
    """Kind of every code point: removed, a space, or a letter."""
    kinds = np.full(0x110000, _SPACE, np.uint8)
    for code in range(0x32400):  # the last plane with letters ends here
        category = unicodedata.category(chr(code))
        if category[0] in "LMN":
            kinds[code] = _LETTER
        elif category == "Cf":
            kinds[code] = _REMOVED
    kinds[[ord(char) for char in "'`´’‘"]] = _REMOVED
    kinds[0xFE00:0xFE10] = _REMOVED  # variation selectors are marks, of emoji mostly
    return kinds


def _hashes(codes: np.ndarray) -> np.ndarray:
    """Hash each run of LENGTH codes to 64 bits.

    A polynomial in uint64, then Stafford's mixing (splitmix64).
    """
    count = max(0, len(codes) - LENGTH + 1)
    hashes = np.zeros(count, np.uint64)
    for offset in range(LENGTH):
        hashes = hashes * _MULTIPLIER + codes[offset : offset + count]
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
