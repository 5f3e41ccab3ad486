"""Splitting rows by the hash of their text: stratified, equal texts together, and the same in every process."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from nlp_ft.data.problem import MULTI, REGRESSION
from nlp_ft.data.rows import Rows
from nlp_ft.errors import DataError

_REGRESSION_STRATA = 10


@dataclass(frozen=True)
class _Group:
    """Rows with equal texts, which stay on one side."""

    order: bytes
    rows: list[int]


def split_rows(rows: Rows, problem: str, wanted: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Row numbers of `train` and of each split in `wanted` (its share of all rows), each in file order.

    Classes (of multi-label rows the rarest one, of regression ten ranges of equal count) keep their shares; the last
    texts of a class stay in train. Raises: DataError where too few rows are left for a split.
    """
    strata = _strata(rows, problem)
    pools: dict[Hashable, list[_Group]] = defaultdict(list)
    for group in _groups(rows.keys, seed):
        pools[strata[group.rows[0]]].append(group)
    parts = {name: _take(pools, round(share * len(rows)) or 1) for name, share in wanted.items()}
    parts["train"] = [group for pool in pools.values() for group in pool]
    _give_back_missing_labels(parts, rows, problem)
    for name, part in parts.items():
        if not part:
            raise DataError(
                f"{len(rows)} rows are too few to split {' and '.join(wanted)} off train: nothing is left for {name}; "
                "add rows, or give the splits as files."
            )
    split = {name: sorted(row for group in part for row in group.rows) for name, part in parts.items()}
    assert sorted(row for part in split.values() for row in part) == list(range(len(rows))), "a row was lost"
    return split


def sample_rows(rows: Rows, problem: str, size: int, seed: int) -> list[int]:
    """`size` row numbers in file order, drawn class by class in proportion, at least one of each while they last."""
    if size >= len(rows):
        return list(range(len(rows)))
    strata = _strata(rows, problem)
    pools: dict[Hashable, list[int]] = defaultdict(list)
    for group in _groups(rows.keys, seed):
        for row in group.rows:
            pools[strata[row]].append(row)
    sizes = {stratum: len(pool) for stratum, pool in pools.items()}
    quotas = _allocate(sizes, size, at_least=1 if size >= len(pools) else 0)
    return sorted(row for stratum, pool in pools.items() for row in pool[: quotas[stratum]])


def _groups(keys: list[str], seed: int) -> list[_Group]:
    """Rows by equal key, in the order of a hash of seed and key, which knows nothing of the order of the file."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        by_key[key].append(row)
    groups = (_Group(hashlib.sha256(f"{seed}\0{key}".encode()).digest(), rows) for key, rows in by_key.items())
    return sorted(groups, key=lambda group: group.order)


def _strata(rows: Rows, problem: str) -> list[Hashable]:
    if problem == REGRESSION:
        bins = max(1, min(_REGRESSION_STRATA, len(rows) // _REGRESSION_STRATA))
        ranked = sorted(range(len(rows)), key=lambda row: (rows.labels[row], rows.keys[row]))
        return [rank * bins // len(rows) for _, rank in sorted(zip(ranked, range(len(rows)), strict=True))]
    if problem == MULTI:
        counts = [sum(column) for column in zip(*rows.labels, strict=True)]
        return [
            min((at for at, on in enumerate(row) if on), key=lambda at: (counts[at], at), default=-1)
            for row in rows.labels
        ]
    return list(rows.labels)


def _take(pools: dict[Hashable, list[_Group]], total: int) -> list[_Group]:
    """Move groups of about `total` rows out of the pools, leaving each its last group."""
    sizes = {stratum: sum(len(group.rows) for group in pool) for stratum, pool in pools.items()}
    spare = {stratum: sizes[stratum] - len(pool[-1].rows) for stratum, pool in pools.items()}
    taken = []
    for stratum, quota in _allocate(sizes, min(total, sum(spare.values())), limits=spare).items():
        kept = []
        for group in pools[stratum][:-1]:
            if len(group.rows) <= quota:
                quota -= len(group.rows)
                taken.append(group)
            else:
                kept.append(group)
        pools[stratum] = [*kept, pools[stratum][-1]]
    return taken or _take_smallest(pools)


def _take_smallest(pools: dict[Hashable, list[_Group]]) -> list[_Group]:
    """Move one group out of the pools, where all are larger than any quota; none where each pool is down to its last."""
    spare = [(len(group.rows), group.order, stratum) for stratum, pool in pools.items() for group in pool[:-1]]
    if not spare:
        return []
    _, order, stratum = min(spare, key=lambda item: item[:2])
    found = next(group for group in pools[stratum] if group.order == order)
    pools[stratum].remove(found)
    return [found]


def _allocate(
    sizes: dict[Hashable, int], total: int, *, limits: dict[Hashable, int] | None = None, at_least: int = 0
) -> dict[Hashable, int]:
    """Shares of `total` in proportion to the sizes, by largest remainder, none above its limit; they add up to it."""
    limits = limits or sizes
    every = sum(sizes.values())
    exact = {name: total * size / every for name, size in sizes.items()}
    quotas = {name: min(limits[name], max(at_least, int(share))) for name, share in exact.items()}
    while (missing := total - sum(quotas.values())) != 0:
        step = 1 if missing > 0 else -1
        open_ = [name for name in quotas if (quotas[name] < limits[name] if step > 0 else quotas[name] > at_least)]
        open_.sort(key=lambda name: (step * (quotas[name] - exact[name]), -sizes[name], str(name)))
        for name in open_[: abs(missing)]:
            quotas[name] += step
    return quotas


def _give_back_missing_labels(parts: dict[str, list[_Group]], rows: Rows, problem: str) -> None:
    """Move to train a group of each label that only other splits hold (a label that never comes alone may be one)."""
    if problem == REGRESSION:
        return
    in_train = Counter(label for group in parts["train"] for label in _labels(group, rows, problem))
    for part in (part for name, part in parts.items() if name != "train"):
        for group in list(part):
            found = _labels(group, rows, problem)
            if found - in_train.keys():
                part.remove(group)
                parts["train"].append(group)
                in_train.update(found)


def _labels(group: _Group, rows: Rows, problem: str) -> set[int]:
    if problem == MULTI:
        return {at for row in group.rows for at, on in enumerate(rows.labels[row]) if on}
    return {rows.labels[row] for row in group.rows}
