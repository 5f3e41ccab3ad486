"""Folds: every row held out once, labels in proportion, what belongs together together."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_data_split import grouped, keys_of, multi_hot, take, widest

from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE
from nlp_ft.data.splits.folds import fold_rows
from nlp_ft.errors import DataError


def test_sizes_and_classes_of_the_folds_differ_by_one_row_at_most() -> None:
    labels = [0] * 61 + [1] * 27 + [2] * 14
    folds = fold_rows(keys_of(range(102)), labels, SINGLE, 5, seed=1)
    assert sorted(map(len, folds)) == [20, 20, 20, 21, 21]
    for label in range(3):
        counts = [take(labels, rows).count(label) for rows in folds]
        assert max(counts) - min(counts) <= 1


def test_a_text_that_occurs_often_leaves_the_folds_within_its_own_size() -> None:
    texts = [*["thanks"] * 12, *range(88)]
    folds = fold_rows(keys_of(texts), [0, 1] * 50, SINGLE, 5, seed=1)
    assert max(map(len, folds)) - min(map(len, folds)) <= 12
    assert len({number for number, rows in enumerate(folds) for row in rows if row < 12}) == 1


def test_a_text_that_occurs_often_does_not_skew_the_folds_of_another_class() -> None:
    texts, labels = [*["thanks"] * 5, *range(7)], [0] * 6 + [1] * 6
    for rows in fold_rows(keys_of(texts), labels, SINGLE, 2, seed=1):
        assert take(labels, rows).count(1) == 3


def test_each_fold_of_a_regression_spans_the_whole_range() -> None:
    targets = [n / 1000 for n in range(1000)]
    for rows in fold_rows(keys_of(range(1000)), targets, REGRESSION, 5, seed=1):
        assert Counter(row // 5 for row in rows) == dict.fromkeys(range(200), 1)


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_all_labels_are_kept_within_a_point(seed: int) -> None:
    labels = multi_hot(2000, seed)
    folds = fold_rows(keys_of(range(2000)), labels.tolist(), MULTI, 5, seed)
    assert widest(labels, dict(enumerate(folds))) < 1
    assert max(map(len, folds)) - min(map(len, folds)) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_held_out_whole_and_classes_keep_their_shares(seed: int) -> None:
    labels, groups = grouped(3000, 600, seed)
    folds = fold_rows(keys_of(range(3000)), labels, SINGLE, 5, seed, groups=groups)
    assert sum(len(set(take(groups, rows))) for rows in folds) == len(set(groups))
    assert all(abs(len(rows) - 600) <= 12 for rows in folds)
    assert widest(np.eye(3)[labels], dict(enumerate(folds))) < 2


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION, "groups"])
def test_folds_follow_text_and_seed_but_not_the_order_of_the_file(kind: str) -> None:
    labels, groups = grouped(400, 150)
    cells = {MULTI: multi_hot(400).tolist(), REGRESSION: [n / 7 % 1 for n in range(400)]}.get(kind, labels)
    problem = kind if kind in (MULTI, REGRESSION) else SINGLE

    def held_out(rows: list[int], seed: int) -> list[list[int]]:
        more: dict[str, Any] = {"groups": take(groups, rows)} if kind == "groups" else {}
        folds = fold_rows(keys_of(n % 380 for n in rows), take(cells, rows), problem, 4, seed, **more)
        return [sorted(rows[row] for row in fold) for fold in folds]

    order = list(range(400))
    assert held_out(order, 1) == held_out(random.Random(0).sample(order, 400), 1) != held_out(order, 2)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from([SINGLE, MULTI, REGRESSION]), count=st.integers(2, 6))
def test_every_row_is_held_out_once_and_what_belongs_together_stays_together(
    data: st.DataObject, kind: str, count: int
) -> None:
    size = data.draw(st.integers(2, 50))
    texts = data.draw(st.lists(st.integers(0, 30), min_size=size, max_size=size))
    label = {MULTI: st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), REGRESSION: st.floats(0, 1)}
    labels = data.draw(st.lists(label.get(kind, st.integers(0, 3)), min_size=size, max_size=size))
    groups = data.draw(st.none() | st.lists(st.sampled_from("abcdefghijkl"), min_size=size, max_size=size))
    try:
        folds = fold_rows(keys_of(texts), labels, kind, count, 1, groups=groups)
    except DataError as error:
        if " are too few for " not in str(error):
            raise
        assume(False)
        return
    assert sorted(row for rows in folds for row in rows) == list(range(size))
    assert len(folds) == count
    assert all(folds)
    for cells in (texts, groups or texts):
        assert sum(len({cells[row] for row in rows}) for rows in folds) == len(set(cells))


def test_more_folds_than_texts_are_refused_in_one_line() -> None:
    with pytest.raises(DataError) as caught:
        fold_rows(keys_of("aabb"), [0, 1, 0, 1], SINGLE, 3, seed=1)
    assert str(caught.value) == (
        "4 rows in 2 sets (equal texts stay together) are too few for 3 folds; add rows, or ask for fewer folds."
    )


def test_a_single_fold_is_refused() -> None:
    with pytest.raises(DataError, match=r"^the number of folds must be at least 2, got 1\.$"):
        fold_rows(keys_of("ab"), [0, 1], SINGLE, 1, seed=1)
