"""Multi-label splitting: every label has its share on each side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from nlp_ft.data.splits.groups import Components
from nlp_ft.data.splits.stratify import effective

_ENOUGH = 1000
_MOST_PASSES = 50
_NOTHING = 1e-9


def balance(
    parts: Components,
    counts: csr_array,
    shares: NDArray[np.float64],
    *,
    settled: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The side of each component, by which all labels and rows near these shares.

    counts: rows of each label, of shape (components, labels). Settled components stay where their hash falls. Iterative
    stratification, the rarest label first (Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10), over components,
    with two differences: a component goes where its hash falls while that side still wants the label, so that rows
    added later move few; and single moves at the end settle what is left, so that groups of many rows come out even.
    """
    side = parts.home(shares)
    indices = np.arange(len(parts)) if settled is None else np.flatnonzero(~settled)
    if not len(indices):
        return side
    columns: Any = counts.tocsc()
    counts = columns[:, _by_first_component(columns)]  # of equally rare labels none is first by its name
    counts = csr_array(hstack([counts, parts.sizes[:, None]], format="csr"))  # all rows: the last, most frequent label
    state = _State(counts[indices], shares, side[indices])
    state.fit(parts.margin(shares)[indices])
    state.polish()
    side[indices] = state.side
    return side


def _by_first_component(columns: Any) -> NDArray[np.int64]:
    """Labels in the order of the hash of their first component.

    columns: a csc_array (components, labels).
    """
    columns.sort_indices()
    held = np.diff(columns.indptr) > 0
    first = np.full(len(held), columns.shape[0], np.int64)
    first[held] = columns.indices[columns.indptr[:-1][held]]
    return np.argsort(first, kind="stable")


def settled_labels(parts: Components, counts: csr_array, shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of components whose labels are all frequent.

    The smallest share expects 1000 rows of each: their hashes give 1000 +- 32.
    """
    every = effective(parts.sizes.sum(), (parts.sizes**2).sum())
    rare = effective(counts.sum(axis=0), (counts * counts).sum(axis=0)) * shares.min() < _ENOUGH
    return (counts.astype(bool) @ rare.astype(np.int64) == 0) & (every * shares.min() >= _ENOUGH)


class _State:
    """The side of each component, and the rows of each label by side: held and wanted."""

    def __init__(self, counts: csr_array, shares: NDArray[np.float64], home: NDArray[np.int64]) -> None:
        self.counts, self.side = counts, home.copy()
        self.totals = counts.sum(axis=0)
        self.wanted = np.outer(self.totals, shares)
        self.held = [[0] * len(shares) for _ in self.totals]
        table: Any = counts
        self.bounds, self.labels, self.rows = table.indptr.tolist(), table.indices.tolist(), table.data.tolist()

    def _entries(self, component: int) -> Iterable[tuple[int, int]]:
        """(label, rows) of a component."""
        entries = slice(self.bounds[component], self.bounds[component + 1])
        return zip(self.labels[entries], self.rows[entries], strict=True)

    def _put(self, component: int, side: int, sign: int) -> None:
        for label, rows in self._entries(component):
            self.held[label][side] += sign * rows

    def fit(self, margin: NDArray[np.float64]) -> None:
        """Place all components, those of the rarest label left first.

        Of these the largest, and those far from a cut, come first.
        """
        columns: Any = self.counts.tocsc()
        left, remaining = np.ones(len(self.side), bool), self.totals.astype(np.float64)
        wanted = self.wanted.tolist()
        for _ in wanted:
            label = int(remaining.argmin())
            remaining[label] = np.inf
            entries = slice(columns.indptr[label], columns.indptr[label + 1])
            here = left[columns.indices[entries]]
            places, rows = columns.indices[entries][here], columns.data[entries][here]
            order = np.lexsort((places, -margin[places], -rows))
            for component, count in zip(places[order].tolist(), rows[order].tolist(), strict=True):
                self._put(component, self._choose(component, label, count, wanted), 1)
                for other, lost in self._entries(component):
                    remaining[other] -= lost
            left[places] = False

    def _choose(self, component: int, label: int, rows: int, wanted: list[list[float]]) -> int:
        """The side by hash while it wants this label.

        Else the one that lacks most of it, then most rows.
        """
        home, held, aim = int(self.side[component]), self.held[label], wanted[label]
        if aim[home] - held[home] < rows / 2:
            needs = [(aim[at] - held[at], wanted[-1][at] - self.held[-1][at], -at) for at in range(len(aim))]
            home = -max(needs)[2]
            self.side[component] = home
        return home

    def polish(self) -> None:
        """Move single components while that lowers the deviation from the shares.

        It is the sum of (rows held - rows wanted)^2 / rows over labels and sides.
        """
        weight = 1 / np.maximum(1, self.totals)
        cost = (self.counts * self.counts) @ weight
        everyone = np.arange(len(self.side))
        for _ in range(_MOST_PASSES):
            pull = self.counts @ ((self.wanted - np.array(self.held)) * weight[:, None])
            gain = (pull.max(axis=1) - pull[everyone, self.side] - cost).round(9)
            indices = np.flatnonzero(gain > _NOTHING)
            if not len(indices):
                break
            for component in indices[np.argsort(-gain[indices], kind="stable")].tolist():
                self._move(component, weight, float(cost[component]))

    def _move(self, component: int, weight: NDArray[np.float64], cost: float) -> None:
        """Move a component to the side that needs its labels most, if that is a gain."""
        here, pull = int(self.side[component]), [0.0] * self.wanted.shape[1]
        for label, rows in self._entries(component):
            share = rows * float(weight[label])
            for at, held in enumerate(self.held[label]):
                pull[at] += share * (float(self.wanted[label, at]) - held)
        best = max(range(len(pull)), key=pull.__getitem__)
        if pull[best] - pull[here] - cost > _NOTHING:
            self._put(component, here, -1)
            self._put(component, best, 1)
            self.side[component] = best
