"""Splitting rows by the hash of their text.

Stratified, equal texts together, and the same in every process.

Rows that must stay together form a component, whose hash falls somewhere in [0, 1): validation lies at the low end,
test at the high end. Large strata are cut there, so that rows added later move none; small ones get exact quotas.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from nlp_ft.data.schema.problem_type import MULTI, REGRESSION
from nlp_ft.data.splits.by_time import split_by_time
from nlp_ft.data.splits.groups import Components, components, label_counts
from nlp_ft.data.splits.multilabel import balance, settled_labels
from nlp_ft.data.splits.stratify import component_strata, label_pairs, row_strata, settled_strata, split_strata
from nlp_ft.errors import DataError

_ENOUGH_TARGETS = 200


def split_rows(
    keys: Sequence[bytes],
    labels: Sequence[object],
    problem: str,
    wanted: dict[str, float],
    seed: int,
    *,
    groups: Sequence[Hashable] | None = None,
    times: Sequence[object] | None = None,
) -> dict[str, list[int]]:
    """Row numbers of `train` and of each held-out split, in file order.

    `wanted`: the share of all rows of validation and test.

    keys: 8-byte digests, equal for equal texts. Rows of equal key or equal group (None, "" and nan are no group) are in
    one split. Classes (all labels of multi-label rows, ranges of a target) keep their shares, and a label that occurs
    at all occurs in train. With times instead: the newest rows are test, the next newest validation, the cuts fall
    between different times, equal texts and groups go with their newest row, and a label may be new in a later split.

    Raises: DataError where too few rows are left for a split, or for a time that cannot be read.
    """
    parts = components(keys, seed, groups)
    names = _names(wanted)
    train = names.index("train")
    if len(parts) <= len(wanted):
        raise DataError(_too_few(len(labels), parts, groups, wanted, list(wanted)[-1]))
    if times is not None:
        side = np.array([names.index(name) for name in split_by_time(parts, times, wanted)])
    else:
        side = _stratified(parts, labels, problem, _shares(wanted), train, grouped=groups is not None)
    split = {name: np.flatnonzero(side[parts.of_row] == names.index(name)).tolist() for name in ("train", *wanted)}
    for name, rows in split.items():
        if not rows:
            raise DataError(_too_few(len(labels), parts, groups, wanted, name))
    assert sum(map(len, split.values())) == len(labels), "a row was lost"
    return split


def settled_rows(
    keys: Sequence[bytes],
    labels: Sequence[object],
    problem: str,
    wanted: dict[str, float],
    *,
    groups: Sequence[Hashable] | None = None,
) -> int:
    """Count the rows in strata so large that rows added later move none of them.

    Rows move only where an added row joins two groups.
    """
    parts, shares = components(keys, 0, groups), _shares(wanted)
    counts, stratum = _labels_of(parts, labels, problem, shares, grouped=groups is not None)
    settled = settled_labels(parts, counts, shares) if stratum is None else settled_strata(parts, stratum, shares)
    return int(parts.sizes[settled].sum())


def sample_rows(keys: Sequence[bytes], labels: Sequence[object], problem: str, size: int, seed: int) -> list[int]:
    """Draw `size` rows class by class in proportion; their numbers in file order.

    At least one of each class while they last; which classes, where they do not, follows the hashes of their rows.

    A smaller sample is part of a larger one. A multi-label row counts for its rarest label, a target for its range.
    """
    if size >= len(labels):
        return list(range(len(labels)))
    parts = components(keys, seed)
    stratum = row_strata(len(labels), *label_pairs(labels, problem, parts.of_row))
    ties = np.asarray(labels, np.float64) if problem == REGRESSION else np.zeros(len(labels))
    order = np.lexsort((ties, parts.of_row, stratum))
    stratum = stratum[order]
    counts = np.bincount(stratum)
    turn = np.arange(len(order)) - (np.cumsum(counts) - counts)[stratum]
    due = np.where(turn == 0, 0, (turn + 0.5) / counts[stratum])  # the share of a class drawn before the row: Webster's
    larger = np.where(turn == 0, 0, -counts[stratum])  # a class of many rows has an early one among them anyway
    return np.sort(order[np.lexsort((parts.of_row[order], larger, due))[:size]]).tolist()


def describe(
    problem: str,
    wanted: dict[str, float],
    seed: int,
    groups: object = None,
    times: object = None,
    *,
    settled: tuple[int, int] | None = None,
) -> str:
    """One line on how rows are split, for the notes.

    `settled`: `settled_rows` and the number of all rows.
    """
    together = "equal texts" if groups is None else "equal texts and groups"
    if times is not None:
        held_out = ", the next newest ".join(name for name in ("test", "validation") if name in wanted)
        return f"by time: the newest rows are {held_out}; {together} together, with their newest row"
    by = {MULTI: "stratified by all labels", REGRESSION: "stratified by the target"}.get(problem, "stratified")
    line = f"{by}, {together} together, by hash (seed {seed})"
    if settled is None or not settled[0]:
        return line
    which = f"{settled[0]}" if settled[0] == settled[1] else f"{settled[0]} of {settled[1]}"
    return f"{line}: added rows move none of {which}" + ("" if groups is None else ", unless they join two groups")


def _names(wanted: dict[str, float]) -> list[str]:
    """The splits in the order in which they lie in [0, 1)."""
    return [name for name in ("validation", "train", "test") if name == "train" or name in wanted]


def _shares(wanted: dict[str, float]) -> NDArray[np.float64]:
    return np.array([wanted.get(name, 1 - sum(wanted.values())) for name in _names(wanted)])


def _labels_of(
    parts: Components, labels: Sequence[object], problem: str, shares: NDArray[np.float64], *, grouped: bool
) -> tuple[csr_array, NDArray[np.int64] | None]:
    """Labels by component.

    Returns: rows of each label, and rows, in each component; the stratum of each, where it has but one.
    """
    enough = problem == REGRESSION and not grouped and len(parts) * shares.min() >= _ENOUGH_TARGETS
    rows, classes = label_pairs(labels, problem, parts.of_row, 1 if enough else None)
    counts = label_counts(parts, rows, classes)
    several = grouped or problem == MULTI
    return counts, None if several else component_strata(parts, rows, classes)


def _stratified(
    parts: Components, labels: Sequence[object], problem: str, shares: NDArray[np.float64], train: int, *, grouped: bool
) -> NDArray[np.int64]:
    """The side of each component.

    No label is missing in train, and no side empty where that can be.
    """
    counts, stratum = _labels_of(parts, labels, problem, shares, grouped=grouped)
    if stratum is None:
        side = balance(parts, counts, shares, settled=settled_labels(parts, counts, shares))
    else:
        side = split_strata(parts, stratum, shares, train)
    if problem == REGRESSION:
        counts = counts[:, :0]
    _give_back(side, counts, parts.sizes, train)
    for number in range(len(shares)):
        if number != train and not (side == number).any():
            _fill(side, counts, parts.sizes, train, number)
    return side


def _give_back(side: NDArray[np.int64], counts: csr_array, sizes: NDArray[np.int64], train: int) -> None:
    """Move to train the smallest component of each label that only other splits hold."""
    holders = counts.tocsc()
    for label in np.flatnonzero((counts[side == train].sum(axis=0) == 0) & (counts.sum(axis=0) > 0)):
        places = holders.indices[holders.indptr[label] : holders.indptr[label + 1]]
        if not (side[places] == train).any():
            side[places[np.lexsort((places, sizes[places]))[0]]] = train


def _fill(side: NDArray[np.int64], counts: csr_array, sizes: NDArray[np.int64], train: int, number: int) -> None:
    """Move the smallest component that train can spare to an empty side."""
    here = np.flatnonzero(side == train)
    held = counts[here].astype(bool)
    free = here[held @ (held.sum(axis=0) == 1).astype(np.int64) == 0]  # no label is down to this component
    if len(here) > 1 and len(free):
        side[free[sizes[free].argmin()]] = number


def _too_few(rows: int, parts: Components, groups: object, wanted: dict[str, float], name: str) -> str:
    why = "equal texts" if groups is None else "equal texts and groups"
    have = f"{rows} rows" if len(parts) == rows else f"{rows} rows in {len(parts)} sets ({why} stay together)"
    return (
        f"{have} are too few to split {' and '.join(wanted)} off train: nothing is left for {name}; "
        "add rows, or give the splits as files."
    )
