"""Rows of all splits, with digests of their texts."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress, repeat

import numpy as np

from nlp_ft.data.checks.finding import Checked, Example, Split, text_key
from nlp_ft.data.text import cut

_ORDER = ("train", "validation", "test")


@dataclass(frozen=True)
class KeyedRows:
    """Rows of all splits, in the order train, validation, test.

    Row r of all is row `r - starts[s]` of split s.

    `keys`: uint64, one per row, equal where `text_key` is (8 bytes of blake2b: 1e6 rows collide once in 4e7 tables).
    """

    splits: list[Split]
    starts: list[int]
    keys: np.ndarray

    @classmethod
    def of(cls, checked: Checked) -> KeyedRows:
        """Digest every text (or pair), read once; 8 bytes a row stay in memory."""
        splits = [checked.splits[name] for name in _ORDER if name in checked.splits]
        starts = np.cumsum([0, *(len(split) for split in splits)]).tolist()
        digests = (_digest(key) for split in splits for key in _keys(split))
        return cls(splits, starts[:-1], np.fromiter(digests, np.uint64, starts[-1]))

    def __len__(self) -> int:
        return len(self.keys)

    def span(self, split: int) -> slice:
        """The rows of a split, by its number."""
        return slice(self.starts[split], self.starts[split] + len(self.splits[split]))

    def locate(self, row: int) -> tuple[int, int]:
        """The number of a row's split, and the row's number in it."""
        split = bisect_right(self.starts, row) - 1
        return split, row - self.starts[split]

    def text(self, row: int) -> tuple[str, str | None]:
        """A row's text and the text it is paired with."""
        number, row = self.locate(row)
        split = self.splits[number]
        return split.texts[row], None if split.pairs is None else split.pairs[row]

    def read(self, wanted: np.ndarray) -> Iterator[tuple[str, str | None]]:
        """Read text and pair of the rows at which `wanted`, (rows,), is true, in order."""
        for number, split in enumerate(self.splits):
            pairs = repeat(None) if split.pairs is None else split.pairs
            yield from compress(zip(split.texts, pairs, strict=False), wanted[self.span(number)].tolist())

    def equal(self) -> Iterator[dict[str, list[int]]]:
        """Yield each text that occurs more than once, as its row numbers by split.

        In the order of the first rows. Blank texts are no duplicates. Keys that are equal are confirmed on the texts, which
        are read again by row number.
        """
        order = np.argsort(self.keys, kind="stable")
        keys = self.keys[order]
        edges = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1], [True]]))
        firsts, ends = edges[:-1], edges[1:]
        repeated = np.flatnonzero(ends - firsts > 1)
        for run in repeated[np.argsort(order[firsts[repeated]])]:
            yield from self._confirmed(order[firsts[run] : ends[run]].tolist())

    def _confirmed(self, rows: list[int]) -> Iterator[dict[str, list[int]]]:
        by_text: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            by_text[text_key(*self.text(row))].append(row)
        for text, equals in by_text.items():
            if len(equals) > 1 and text.strip("\0"):
                group: dict[str, list[int]] = defaultdict(list)
                for split, row in map(self.locate, equals):
                    group[self.splits[split].name].append(row)
                yield dict(group)


def example(checked: Checked, split: Split, row: int, note: str) -> Example:
    """A row with its location, text (a pair joined by ` | `) and label."""
    pair = None if split.pairs is None else split.pairs[row]
    text = cut(split.texts[row]) if pair is None else f"{cut(split.texts[row], 98)} | {cut(pair, 98)}"
    return Example(split.where(row), text, checked.label_name(split.labels[row]), note)


def _keys(split: Split) -> Iterator[str]:
    if split.pairs is None:
        return map(text_key, split.texts)
    return map(text_key, split.texts, split.pairs)


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
