"""Rows that must stay on one side: equal texts, equal groups, and chains of both."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

KEY_BYTES = 8


@dataclass(frozen=True)
class Components:
    """Sets of rows that stay together, numbered in the order of a hash.

    The hash does not depend on the order of the file.

    `of_row`: the component of each row. `sizes`: rows of each component. `position`: where the hash of each component
    falls in [0, 1), ascending.
    """

    of_row: NDArray[np.int64]
    sizes: NDArray[np.int64]
    position: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of components."""
        return len(self.sizes)

    def home(self, shares: NDArray[np.float64]) -> NDArray[np.int64]:
        """The side (0, 1, ...) of each component by its position alone.

        [0, 1) is cut into these shares.
        """
        return np.searchsorted(np.cumsum(shares)[:-1], self.position, side="right")

    def margin(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of each component from the nearest cut between two of these shares."""
        margin = np.ones(len(self))
        for edge in np.cumsum(shares)[:-1]:
            np.minimum(margin, np.abs(self.position - edge), out=margin)
        return margin


def components(keys: Sequence[bytes], seed: int, groups: Sequence[Hashable] | None = None) -> Components:
    """Tie rows of equal key, and rows of equal group, directly or through other rows.

    keys: 8-byte digests of the texts. A group that is None, "" or nan ties nothing. A component's place in the order is
    the hash of the seed and of its smallest group (its key, where it has none), so a new row moves it only by joining
    it to another. Raises: ValueError for keys of another length.
    """
    texts = np.frombuffer(b"".join(keys), dtype=">u8").astype(np.uint64)
    if len(texts) != len(keys):
        raise ValueError(f"keys must be digests of {KEY_BYTES} bytes.")
    distinct, of_row = np.unique(texts, return_inverse=True)
    names, of_name = distinct, np.arange(len(distinct))
    if groups is not None:
        names, of_name, of_row = _joined(distinct, of_row, groups)
    first = np.lexsort((names, of_name))
    first = first[np.diff(of_name[first], prepend=-1) > 0]
    hashes = _hashes(seed, names[first])
    order = np.lexsort((names[first], hashes))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    of_row = rank[of_row]
    return Components(of_row, np.bincount(of_row, minlength=len(order)), hashes[order] / 2.0**64)


def label_counts(parts: Components, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> csr_array:
    """Rows of each class in each component, from pairs of row and class.

    Shape: (components, classes).
    """
    shape = (len(parts), int(classes.max(initial=-1)) + 1)
    table = coo_array((np.ones(len(rows), np.int64), (parts.of_row[rows], classes)), shape=shape).tocsr()
    table.sum_duplicates()
    return table


def _hashes(seed: int, names: NDArray[np.uint64]) -> NDArray[np.uint64]:
    start = f"{seed}\0".encode()
    cells = names.astype(">u8").tobytes()
    return _digests(start + cells[at : at + KEY_BYTES] for at in range(0, len(cells), KEY_BYTES))


def _digests(values: Iterable[bytes]) -> NDArray[np.uint64]:
    joined = b"".join(hashlib.blake2b(value, digest_size=KEY_BYTES).digest() for value in values)
    return np.frombuffer(joined, dtype=">u8").astype(np.uint64)


def _joined(
    distinct: NDArray[np.uint64], of_row: NDArray[np.int64], groups: Sequence[Hashable]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Join rows that share a text or a group into components.

    Returns: digests that may name a component, the component of each, the component of each row.
    """
    numbers: dict[Hashable, int] = {}
    of_group = np.fromiter(
        (-1 if _is_missing(group) else numbers.setdefault(group, len(numbers)) for group in groups),
        dtype=np.int64,
        count=len(of_row),
    )
    rows = np.flatnonzero(of_group >= 0)
    ends = (of_row[rows], len(distinct) + of_group[rows])
    nodes = len(distinct) + len(numbers)
    graph = coo_array((np.ones(len(rows), np.int8), ends), shape=(nodes, nodes))
    _, labels = connected_components(graph, directed=False)
    of_node = labels.astype(np.int64)
    grouped = np.isin(of_node, of_node[len(distinct) :])
    grouped[len(distinct) :] = False  # what is left names itself: the groups, and the texts without one
    names = np.concatenate([distinct, _digests(repr(group).encode() for group in numbers)])
    return names[~grouped], of_node[~grouped], of_node[of_row]


def _is_missing(group: object) -> bool:
    return group is None or group == "" or group != group
