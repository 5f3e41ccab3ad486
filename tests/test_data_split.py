"""Splitting and sampling: every row in one split, classes in proportion, equal texts together, the same every time."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlp_ft.data.problem import MULTI, REGRESSION, SINGLE
from nlp_ft.data.rows import Rows
from nlp_ft.data.split import sample_rows, split_rows
from nlp_ft.errors import DataError

TENTHS = {"validation": 0.1, "test": 0.1}


def make(labels: list[Any], texts: list[str] | None = None, pairs: list[str] | None = None) -> Rows:
    return Rows(texts or [f"text {n}" for n in range(len(labels))], pairs, labels)


def test_classes_keep_their_shares() -> None:
    rows = make([0] * 700 + [1] * 200 + [2] * 100)
    for part, size in (("train", 8), ("validation", 1), ("test", 1)):
        places = split_rows(rows, SINGLE, TENTHS, seed=1)[part]
        assert Counter(rows.labels[place] for place in places) == {0: 70 * size, 1: 20 * size, 2: 10 * size}


def test_targets_of_a_regression_keep_their_spread() -> None:
    rows = make([n / 1000 for n in range(1000)])
    places = split_rows(rows, REGRESSION, {"test": 0.2}, seed=1)["test"]
    assert Counter(place // 100 for place in places) == dict.fromkeys(range(10), 20)


def test_a_rare_label_of_many_is_spread_over_the_splits() -> None:
    rows = make([[1.0, float(n % 20 == 0), float(n % 2)] for n in range(1000)])
    for places in split_rows(rows, MULTI, {"test": 0.5}, seed=1).values():
        assert sum(rows.labels[place][1] for place in places) == 25


def test_the_split_follows_the_text_not_the_order_of_the_file_and_the_seed() -> None:
    rows = make([n % 3 for n in range(300)])
    shuffled = rows.take(random.Random(0).sample(range(300), 300))

    def tests_of(rows: Rows, seed: int) -> list[str]:
        return sorted(rows.texts[place] for place in split_rows(rows, SINGLE, TENTHS, seed)["test"])

    assert tests_of(rows, 1) == tests_of(shuffled, 1) != tests_of(rows, 2)


def test_the_order_of_the_file_is_kept_within_each_split() -> None:
    places = split_rows(make([n % 3 for n in range(300)]), SINGLE, TENTHS, seed=1)
    assert all(part == sorted(part) for part in places.values())


def test_a_class_of_one_row_stays_in_train() -> None:
    rows = make([0] * 18 + [1, 2])
    assert {18, 19} <= set(split_rows(rows, SINGLE, TENTHS, seed=3)["train"])


def test_twenty_rows_of_five_classes_can_be_split() -> None:
    rows = make([n % 5 for n in range(20)])
    places = split_rows(rows, SINGLE, TENTHS, seed=0)
    assert {part: len(rows) for part, rows in places.items()} == {"train": 16, "validation": 2, "test": 2}
    assert len({rows.labels[place] for place in places["validation"]}) == 2


def test_a_label_that_comes_only_with_texts_of_another_class_is_given_back_to_train() -> None:
    texts = [f"text {n}" for n in range(30)] + ["text 0"]
    for seed in range(20):
        places = split_rows(make([0] * 15 + [1] * 15 + [2], texts), SINGLE, {"test": 0.5}, seed)
        assert 30 in places["train"]


def test_too_few_rows_are_refused_in_one_line() -> None:
    with pytest.raises(DataError) as caught:
        split_rows(make([0, 0, 1]), SINGLE, TENTHS, seed=1)
    assert str(caught.value) == (
        "3 rows are too few to split validation and test off train: nothing is left for test; add rows, or give the "
        "splits as files."
    )


def test_texts_that_all_occur_often_can_be_split() -> None:
    rows = make([0, 0, 0, 1, 1, 1] * 3, ["a", "b", "c", "d", "e", "f"] * 3)
    split = split_rows(rows, SINGLE, TENTHS, seed=1)
    assert {part: len(places) for part, places in split.items()} == {"train": 12, "validation": 3, "test": 3}


def test_pairs_are_equal_only_if_both_texts_are() -> None:
    rows = make([0, 1] * 10, ["same"] * 20, [str(n // 2) for n in range(20)])
    split = split_rows(rows, SINGLE, {"test": 0.2}, seed=1)
    side = {place: part for part, places in split.items() for place in places}
    assert all(side[n] == side[n + 1] for n in range(0, 20, 2))
    assert len(split["test"]) == 4


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(0, 3)), min_size=30, max_size=60),
    seed=st.integers(0, 5),
)
def test_no_row_is_lost_no_label_leaves_train_and_equal_texts_stay_together(
    rows: list[tuple[str, int]], seed: int
) -> None:
    texts = [random.Random(n).choice([text, text.upper(), f" {text}\n"]) for n, (text, _) in enumerate(rows)]
    labels = [label for _, label in rows]
    try:
        split = split_rows(make(labels, texts), SINGLE, TENTHS, seed)
    except DataError:  # a handful of distinct texts may not suffice
        assume(False)
        return
    assert sorted(place for places in split.values() for place in places) == list(range(len(rows)))
    assert {labels[place] for place in split["train"]} == set(labels)
    keys = [{rows[place][0] for place in places} for places in split.values()]
    assert sum(map(len, keys)) == len(set.union(*keys))


def test_a_sample_is_no_head_of_a_sorted_file_and_holds_every_class() -> None:
    rows = make([0] * 900 + [1] * 90 + [2] * 10)
    places = sample_rows(rows, SINGLE, 100, seed=1)
    assert places == sample_rows(rows, SINGLE, 100, seed=1) != sample_rows(rows, SINGLE, 100, seed=2)
    assert Counter(rows.labels[place] for place in places) == {0: 90, 1: 9, 2: 1}
    assert places != list(range(100))
    assert {rows.labels[place] for place in sample_rows(rows, SINGLE, 3, seed=1)} == {0, 1, 2}
    assert len(sample_rows(rows, SINGLE, 2, seed=1)) == 2
    assert sample_rows(rows, SINGLE, 5000, seed=1) == list(range(1000))


def test_a_smaller_sample_is_part_of_a_larger_one() -> None:
    rows = make([n % 2 for n in range(1000)])
    assert set(sample_rows(rows, SINGLE, 50, seed=1)) < set(sample_rows(rows, SINGLE, 200, seed=1))
