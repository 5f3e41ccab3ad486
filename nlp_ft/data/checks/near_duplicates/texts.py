"""Distinct texts of all splits, and pairs of similar ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from nlp_ft.data.checks.duplicate_keys import KeyedRows


@dataclass(frozen=True)
class DistinctTexts:
    """Texts equal by `text_key` as one, numbered in the order of their first rows.

    `numbers`: the text of each row. `first`: the first row of each text. `splits`: the splits that contain it,
    split s of `rows.splits` as bit s.
    """

    rows: KeyedRows
    numbers: np.ndarray
    first: np.ndarray
    splits: np.ndarray

    @classmethod
    def of(cls, rows: KeyedRows) -> Self:
        """All texts of these rows."""
        _, first, numbers = np.unique(rows.keys, return_index=True, return_inverse=True)
        order = np.argsort(first)
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        numbers = ranks[numbers]
        splits = np.zeros(len(first), np.uint8)
        for split in range(len(rows.splits)):
            splits[numbers[rows.span(split)]] |= 1 << split
        return cls(rows, numbers, first[order], splits)

    def __len__(self) -> int:
        return len(self.first)

    def read(self) -> Iterator[tuple[str, str | None]]:
        """Each text with its pair, in order."""
        wanted = np.zeros(len(self.rows), bool)
        wanted[self.first] = True
        return self.rows.read(wanted)

    def first_rows(self, split: int) -> np.ndarray:
        """For each text the number of its first row in a split, or -1."""
        rows = np.full(len(self), -1)
        numbers = self.numbers[self.rows.span(split)]
        rows[numbers[::-1]] = np.arange(len(numbers))[::-1]
        return rows


@dataclass(frozen=True)
class SimilarPairs:
    """Pairs of similar texts.

    `pairs`: text numbers, shape (pairs, 2). `similarities`: of each pair, at least `threshold`.
    """

    texts: DistinctTexts
    pairs: np.ndarray
    similarities: np.ndarray
    threshold: float

    def only(self, chosen: np.ndarray) -> Self:
        """The chosen pairs; `chosen`: booleans or indices."""
        return type(self)(self.texts, self.pairs[chosen], self.similarities[chosen], self.threshold)

    def within(self, split: int) -> Self:
        """Pairs whose texts are both in a split."""
        return self.only(np.all(self.texts.splits[self.pairs] >> split & 1, axis=1))

    def across(self, split: int, other: int) -> Self:
        """Pairs of a text in one split (first) and a text in another."""
        both = np.concatenate([self.pairs, self.pairs[:, ::-1]])
        doubled = type(self)(self.texts, both, np.tile(self.similarities, 2), self.threshold)
        return doubled.only(np.all(self.texts.splits[both] >> [split, other] & 1, axis=1))

    def groups(self) -> np.ndarray:
        """For each text the number of its group.

        A group is a connected component of the pairs; a text without a pair is a group by itself.
        """
        links = coo_array((np.ones(len(self.pairs), bool), self.pairs.T), shape=(len(self.texts), len(self.texts)))
        return connected_components(links, directed=False)[1]

    def best(self, side: int | slice = slice(None)) -> np.ndarray:
        """For each text the similarity of its best pair; 0 if it is in none.

        side: of a pair, 0 or 1, that counts; both by default.
        """
        best = np.zeros(len(self.texts))
        for column in self.pairs[:, side].reshape(len(self.pairs), -1).T:
            np.maximum.at(best, column, self.similarities)
        return best
