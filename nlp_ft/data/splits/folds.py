"""Folds for cross-validation: every row is held out once.

Classes keep their proportion; equal texts and groups stay together.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from nlp_ft.data.schema.problem_type import MULTI, REGRESSION
from nlp_ft.data.splits.groups import Components, components, label_counts
from nlp_ft.data.splits.multilabel import balance
from nlp_ft.data.splits.stratify import component_strata, label_pairs
from nlp_ft.errors import DataError


def fold_rows(
    keys: Sequence[bytes],
    labels: Sequence[object],
    problem: str,
    folds: int,
    seed: int,
    *,
    groups: Sequence[Hashable] | None = None,
) -> list[list[int]]:
    """Row numbers held out in each fold, in file order; every row in one of them.

    keys, groups: as in `split_rows`. A label that one text or group alone holds is not trained on in the fold that
    holds it out. Raises: DataError where there are fewer texts (or groups) than folds.
    """
    if folds < 2:
        raise DataError(f"the number of folds must be at least 2, got {folds}.")
    parts = components(keys, seed, groups)
    if len(parts) < folds:
        why = "equal texts" if groups is None else "equal texts and groups"
        raise DataError(
            f"{len(labels)} rows in {len(parts)} sets ({why} stay together) are too few for {folds} folds; "
            "add rows, or ask for fewer folds."
        )
    if groups is not None or problem == MULTI:
        counts = label_counts(parts, *label_pairs(labels, problem, parts.of_row))
        fold = balance(parts, counts, np.full(folds, 1 / folds))
    else:
        bins = len(labels) // folds if problem == REGRESSION else None
        strata = component_strata(parts, *label_pairs(labels, problem, parts.of_row, bins))
        fold = _deal(parts, strata if problem == REGRESSION else _small_classes_last(strata, folds), folds)
    held_out = [np.flatnonzero(fold[parts.of_row] == number).tolist() for number in range(folds)]
    if not all(held_out):
        raise DataError(f"{len(labels)} rows cannot fill {folds} folds, as most stay together; ask for fewer folds.")
    return held_out


def _small_classes_last(stratum: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Renumber the classes that cannot fill all folds: after the others, by hash.

    Their names then do not decide which of them are held out together.
    """
    classes, first, class_of, members = np.unique(stratum, return_index=True, return_inverse=True, return_counts=True)
    return np.where(members < folds, len(stratum) + classes[-1] + first, classes)[class_of]


def _deal(parts: Components, stratum: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """The fold of each component.

    Stratum by stratum, the largest first, to the fold with the fewest rows of it.
    """
    fold = np.empty(len(parts), np.int64)
    totals, here, last = [0] * folds, [0] * folds, -1
    order = np.lexsort((np.arange(len(parts)), -parts.sizes, stratum))
    for component, now, size in zip(order.tolist(), stratum[order].tolist(), parts.sizes[order].tolist(), strict=True):
        if now != last:
            here, last = [0] * folds, now
        taken = min(zip(here, totals, range(folds), strict=True))[2]
        here[taken] += size
        totals[taken] += size
        fold[component] = taken
    return fold
