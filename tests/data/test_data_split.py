"""Splitting and sampling: every row in one split, labels in proportion, what belongs together together."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE
from nlp_ft.data.splits.by_time import older_rows, read_times
from nlp_ft.data.splits.folds import fold_rows
from nlp_ft.data.splits.split import describe, sample_rows, settled_rows, split_rows
from nlp_ft.errors import DataError

TENTHS = {"validation": 0.1, "test": 0.1}


def keys_of(texts: Iterable[Any]) -> list[bytes]:
    return [hashlib.blake2b(repr(text).encode(), digest_size=8).digest() for text in texts]


def side_of(split: dict[str, list[int]]) -> dict[int, str]:
    return {row: name for name, rows in split.items() for row in rows}


def take(cells: Sequence[Any], rows: Iterable[int]) -> list[Any]:
    return [cells[row] for row in rows]


def classes(shares: list[float], rows: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).choice(len(shares), rows, p=shares).tolist()


def multi_hot(rows: int, seed: int = 0) -> np.ndarray:
    """20 labels from 1 % to 50 % that come together more often than by chance."""
    rng = np.random.default_rng(seed)
    rate = np.geomspace(0.01, 0.5, 20)
    mood = rng.normal(size=(rows, 3)) @ rng.normal(size=(3, 20))
    return (rng.uniform(size=(rows, 20)) < 1 / (1 + np.exp(-np.log(rate / (1 - rate)) - mood))).astype(float)


def grouped(rows: int, groups: int, seed: int = 0) -> tuple[list[int], list[str]]:
    """Class ids and group names, where groups differ in size and in their classes."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(0, 1, groups)
    own = rng.choice(groups, rows, p=sizes / sizes.sum())
    mixes = rng.dirichlet([1, 2, 4], groups)
    return [int(rng.choice(3, p=mixes[group])) for group in own], [f"group {group}" for group in own]


def widest(labels: np.ndarray, split: dict[Any, list[int]]) -> float:
    """The largest distance of a label's share in a split from its share in all rows, in points."""
    return max(float(np.abs(labels[rows].mean(axis=0) - labels.mean(axis=0)).max()) * 100 for rows in split.values())


def test_small_classes_keep_their_shares_to_the_row() -> None:
    labels = [0] * 350 + [1] * 100 + [2] * 50
    split = split_rows(keys_of(range(500)), labels, SINGLE, TENTHS, seed=1)
    for name, size in (("train", 8), ("validation", 1), ("test", 1)):
        assert Counter(take(labels, split[name])) == {0: 35 * size, 1: 10 * size, 2: 5 * size}


def test_quotas_that_do_not_divide_go_to_the_largest_remainders() -> None:
    labels = [0] * 44 + [1] * 36 + [2] * 20  # a tenth of each: 4.4, 3.6, 2
    split = split_rows(keys_of(range(100)), labels, SINGLE, {"test": 0.1}, seed=1)
    assert Counter(take(labels, split["test"])) == {0: 4, 1: 4, 2: 2}


@pytest.mark.parametrize("seed", range(5))
def test_large_classes_have_their_shares_within_four_standard_deviations(seed: int) -> None:
    labels = classes([0.5, 0.3, 0.2], 20000)
    split = split_rows(keys_of(range(20000)), labels, SINGLE, {"validation": 0.2, "test": 0.1}, seed)
    every = Counter(labels)
    for name, share in (("validation", 0.2), ("test", 0.1)):
        for label, count in Counter(take(labels, split[name])).items():
            expected = share * every[label]
            assert abs(count - expected) < 4 * (expected * (1 - share)) ** 0.5


def test_targets_of_a_small_regression_keep_their_spread() -> None:
    split = split_rows(keys_of(range(1000)), [n / 1000 for n in range(1000)], REGRESSION, {"test": 0.1}, seed=1)
    assert Counter(row // 100 for row in split["test"]) == dict.fromkeys(range(10), 10)


def test_a_rare_label_of_many_is_spread_over_the_splits() -> None:
    labels = [[1.0, float(n % 20 == 0), float(n % 2)] for n in range(1000)]
    for rows in split_rows(keys_of(range(1000)), labels, MULTI, {"test": 0.5}, seed=1).values():
        assert sum(labels[row][1] for row in rows) == 25


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_all_labels_of_2000_rows_are_kept_within_a_point(seed: int) -> None:
    labels = multi_hot(2000, seed)
    split = split_rows(keys_of(range(2000)), labels.tolist(), MULTI, TENTHS, seed)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 1600, "validation": 200, "test": 200}
    assert widest(labels, split) < 1
    by_hash = split_rows(keys_of(range(2000)), [0] * 2000, SINGLE, TENTHS, seed)
    assert widest(labels, by_hash) > 2  # or the test could not fail


@pytest.mark.parametrize("seed", range(3))
def test_groups_keep_the_shares_of_the_classes_as_well_as_they_can(seed: int) -> None:
    labels, groups = grouped(3000, 600, seed)
    split = split_rows(keys_of(range(3000)), labels, SINGLE, TENTHS, seed, groups=groups)
    assert all(abs(len(split[name]) - 300) <= 6 for name in TENTHS)
    assert widest(np.eye(3)[labels], split) < 2
    names = [set(take(groups, rows)) for rows in split.values()]
    assert sum(map(len, names)) == len(set(groups))


def test_equal_texts_tie_groups_and_groups_tie_texts() -> None:
    texts = ["a", "b", "b", "c", *range(60)]
    groups = ["one", "one", "two", "two", *(f"group {n}" for n in range(60))]
    for seed in range(10):
        side = side_of(split_rows(keys_of(texts), [0] * 64, SINGLE, {"test": 0.3}, seed, groups=groups))
        assert side[0] == side[1] == side[2] == side[3]


def test_rows_without_a_group_are_tied_to_none() -> None:
    groups = ([None, "", float("nan")] * 34)[:100]
    split = split_rows(keys_of(range(100)), [0] * 100, SINGLE, TENTHS, 1, groups=groups)
    assert [len(rows) for rows in split.values()] == [80, 10, 10]


def test_the_file_order_is_kept_within_each_split() -> None:
    split = split_rows(keys_of(range(300)), [n % 3 for n in range(300)], SINGLE, TENTHS, seed=1)
    assert all(rows == sorted(rows) for rows in split.values())


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION, "groups", "times"])
def test_the_split_follows_text_and_seed_but_not_the_order_of_the_file(kind: str) -> None:
    labels, groups = grouped(400, 150)
    more: dict[str, Any] = {"groups": groups} if kind == "groups" else {}
    more |= {"times": [n % 90 for n in range(400)]} if kind == "times" else {}
    cells = {MULTI: multi_hot(400).tolist(), REGRESSION: [n / 7 % 1 for n in range(400)]}.get(kind, labels)
    problem = kind if kind in (MULTI, REGRESSION) else SINGLE
    texts = [n % 380 for n in range(400)]

    def held_out(rows: list[int], seed: int) -> list[list[int]]:
        moved = {name: take(column, rows) for name, column in more.items()}
        split = split_rows(keys_of(take(texts, rows)), take(cells, rows), problem, TENTHS, seed, **moved)
        return [sorted(rows[row] for row in split[name]) for name in TENTHS]

    order = list(range(400))
    assert held_out(order, 1) == held_out(random.Random(0).sample(order, 400), 1)
    assert (held_out(order, 1) == held_out(order, 2)) == (kind == "times")


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_more_rows_move_none_of_5000(seed: int) -> None:
    labels = classes([0.4, 0.35, 0.25], 6000, seed)
    keys = keys_of(range(6000))
    old = side_of(split_rows(keys[:5000], labels[:5000], SINGLE, TENTHS, seed))
    new = side_of(split_rows(keys, labels, SINGLE, TENTHS, seed))
    assert settled_rows(keys[:5000], labels[:5000], SINGLE, TENTHS) == 5000
    assert all(new[row] == name for row, name in old.items())


@pytest.mark.parametrize(
    ("problem", "grown", "most"), [(SINGLE, 240, 0.06), (REGRESSION, 240, 0.14), (MULTI, 2400, 0.1)]
)
def test_a_fifth_more_rows_move_few_of_a_small_file(problem: str, grown: int, most: float) -> None:
    rng = np.random.default_rng(0)
    labels = {MULTI: multi_hot(grown).tolist(), REGRESSION: rng.normal(size=grown).tolist()}.get(problem)
    labels, keys, few = labels or classes([0.6, 0.3, 0.1], grown), keys_of(range(grown)), grown * 5 // 6
    moved = []
    for seed in range(10):
        new = side_of(split_rows(keys, labels, problem, TENTHS, seed))
        old = side_of(split_rows(keys[:few], labels[:few], problem, TENTHS, seed))
        moved.append(sum(new[row] != name for row, name in old.items()) / few)
    assert np.mean(moved) < most  # a split drawn anew moves 34 %


def test_more_rows_of_known_groups_move_none_where_groups_are_many() -> None:
    rng = np.random.default_rng(0)
    groups = [f"group {n}" for n in rng.integers(0, 15000, 36000)]
    keys, labels = keys_of(range(36000)), [n % 2 for n in range(36000)]
    old = side_of(split_rows(keys[:30000], labels[:30000], SINGLE, {"test": 0.3}, 1, groups=groups[:30000]))
    new = side_of(split_rows(keys, labels, SINGLE, {"test": 0.3}, 1, groups=groups))
    assert settled_rows(keys[:30000], labels[:30000], SINGLE, {"test": 0.3}, groups=groups[:30000]) == 30000
    assert all(new[row] == name for row, name in old.items())


def test_test_rows_stay_where_validation_comes_as_a_file() -> None:
    keys, labels = keys_of(range(5000)), [n % 2 for n in range(5000)]
    both, alone = (split_rows(keys, labels, SINGLE, wanted, 1) for wanted in (TENTHS, {"test": 0.1}))
    assert both["test"] == alone["test"]


def test_one_text_that_fills_a_third_of_a_class_does_not_decide_the_size_of_a_split() -> None:
    texts = ["thanks"] * 700 + list(range(1300))
    for seed in range(10):
        split = split_rows(keys_of(texts), [0] * 2000, SINGLE, TENTHS, seed)
        assert [len(rows) for rows in split.values()] == [1600, 200, 200]


def test_a_class_of_one_row_stays_in_train() -> None:
    labels = [0] * 18 + [1, 2]
    for problem, cells in ((SINGLE, labels), (MULTI, np.eye(3)[labels].tolist())):
        for seed in range(5):
            assert {18, 19} <= set(split_rows(keys_of(range(20)), cells, problem, TENTHS, seed)["train"])


def test_twenty_rows_of_five_classes_can_be_split() -> None:
    labels = [n % 5 for n in range(20)]
    split = split_rows(keys_of(range(20)), labels, SINGLE, TENTHS, seed=0)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 16, "validation": 2, "test": 2}
    assert all(len({labels[row] for row in split[name]}) == 2 for name in TENTHS)
    assert {labels[row] for row in split["train"]} == set(range(5))


@pytest.mark.parametrize("problem", [SINGLE, MULTI, "groups"])
def test_which_of_80_small_classes_are_held_out_follows_the_seed_and_not_their_names(problem: str) -> None:
    names = [n % 80 for n in range(320)]
    labels = np.eye(80)[names].tolist() if problem == MULTI else names
    groups = list(range(320)) if problem == "groups" else None
    kind = SINGLE if problem == "groups" else problem
    held: dict[str, list[set[int]]] = {"validation": [], "test": []}
    for seed in range(12):
        split = split_rows(keys_of(range(320)), labels, kind, TENTHS, seed, groups=groups)
        assert set(take(names, split["train"])) == set(range(80))
        assert all(abs(len(split[name]) - 32) <= (0 if problem == SINGLE else 8) for name in TENTHS)
        for name, classes in held.items():
            classes.append(set(take(names, split[name])))
    for classes in held.values():
        assert min(map(len, classes)) > 25
        assert len(set(map(frozenset, classes))) == 12
        counts = Counter(one for drawn in classes for one in drawn)
        assert len(counts) == 80  # each is held out by some seed
        assert abs(np.corrcoef(range(80), [counts[n] for n in range(80)])[0, 1]) < 0.35
    assert problem != SINGLE or all(a & b for a, b in zip(*held.values(), strict=True))


def test_classes_of_two_rows_follow_the_hash_in_both_splits() -> None:
    labels = [n % 60 for n in range(120)]
    both: Counter[int] = Counter()
    for seed in range(20):
        split = split_rows(keys_of(range(120)), labels, SINGLE, TENTHS, seed)
        assert {name: len(rows) for name, rows in split.items()} == {"train": 96, "validation": 12, "test": 12}
        assert set(take(labels, split["train"])) == set(range(60))
        both.update(take(labels, split["validation"] + split["test"]))
    assert len(both) >= 58


def test_the_names_of_small_classes_are_of_no_account() -> None:
    names = [n % 80 for n in range(320)]
    renamed = [79 - n for n in names]
    for seed in range(3):
        assert split_rows(keys_of(range(320)), names, SINGLE, TENTHS, seed) == split_rows(
            keys_of(range(320)), renamed, SINGLE, TENTHS, seed
        )
        for size in (5, 20, 60, 100):
            assert sample_rows(keys_of(range(320)), names, SINGLE, size, seed) == sample_rows(
                keys_of(range(320)), renamed, SINGLE, size, seed
            )
        folds = [fold_rows(keys_of(range(320)), labels, SINGLE, 5, seed) for labels in (names, renamed)]
        assert folds[0] == folds[1]


@pytest.mark.parametrize("size", [20, 100])
def test_which_classes_a_small_sample_holds_follows_the_seed(size: int) -> None:
    labels = [n % 80 for n in range(320)]
    drawn = [Counter(take(labels, sample_rows(keys_of(range(320)), labels, SINGLE, size, s))) for s in range(12)]
    assert all(sum(counts.values()) == size for counts in drawn)
    assert all(len(counts) == min(size, 80) for counts in drawn)
    most = [frozenset(label for label, count in counts.items() if count > size // 80) for counts in drawn]
    assert len(set(most)) == 12
    assert len(frozenset.union(*most)) > 70


def test_a_small_sample_of_targets_is_not_that_of_the_lowest() -> None:
    targets = [float(n) for n in range(300)]
    middles = [np.mean(sample_rows(keys_of(range(300)), targets, REGRESSION, 4, seed)) for seed in range(40)]
    assert 120 < np.mean(middles) < 180  # of the four lowest ranges: 59


def test_a_label_that_comes_only_with_texts_of_another_class_is_given_back_to_train() -> None:
    texts = [*range(30), 0]
    for seed in range(20):
        split = split_rows(keys_of(texts), [0] * 15 + [1] * 15 + [2], SINGLE, {"test": 0.5}, seed)
        assert 30 in split["train"]


def test_texts_that_all_occur_often_can_be_split() -> None:
    split = split_rows(keys_of("abcdef" * 3), [0, 0, 0, 1, 1, 1] * 3, SINGLE, TENTHS, seed=1)
    assert {name: len(rows) for name, rows in split.items()} == {"train": 12, "validation": 3, "test": 3}


def test_too_few_rows_are_refused_in_one_line() -> None:
    with pytest.raises(DataError) as caught:
        split_rows(keys_of(range(3)), [0, 0, 1], SINGLE, TENTHS, seed=1)
    assert str(caught.value) == (
        "3 rows are too few to split validation and test off train: nothing is left for test; add rows, or give the "
        "splits as files."
    )


@pytest.mark.parametrize("problem", [SINGLE, MULTI])
def test_too_few_groups_are_refused_in_one_line(problem: str) -> None:
    labels = [0] * 40 if problem == SINGLE else [[1.0]] * 40
    with pytest.raises(DataError) as caught:
        split_rows(keys_of(range(40)), labels, problem, TENTHS, seed=1, groups=["a", "b"] * 20)
    assert str(caught.value) == (
        "40 rows in 2 sets (equal texts and groups stay together) are too few to split validation and test off train: "
        "nothing is left for test; add rows, or give the splits as files."
    )


@settings(max_examples=80, deadline=None)
@given(data=st.data(), kind=st.sampled_from([SINGLE, MULTI, REGRESSION]), seed=st.integers(0, 5))
def test_no_row_is_lost_no_label_leaves_train_and_what_belongs_together_stays_together(
    data: st.DataObject, kind: str, seed: int
) -> None:
    size = data.draw(st.integers(20, 60))
    texts = data.draw(st.lists(st.integers(0, 40), min_size=size, max_size=size))
    label = {MULTI: st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), REGRESSION: st.floats(0, 1)}
    labels = data.draw(st.lists(label.get(kind, st.integers(0, 3)), min_size=size, max_size=size))
    some = st.lists(st.sampled_from([None, *"abcdefghijklmnop"]), min_size=size, max_size=size)
    groups = data.draw(st.none() | some)
    try:
        split = split_rows(keys_of(texts), labels, kind, TENTHS, seed, groups=groups)
    except DataError:  # a handful of sets may not suffice
        assume(False)
        return
    assert sorted(row for rows in split.values() for row in rows) == list(range(size))
    assert list(split) == ["train", "validation", "test"]
    assert all(split.values())
    for cells in (texts, groups or []):
        sides = [{cells[row] for row in rows if cells[row] is not None} if cells else set() for rows in split.values()]
        assert sum(map(len, sides)) == len(set.union(*sides))
    if kind == SINGLE:
        assert {labels[row] for row in split["train"]} == set(labels)
    if kind == MULTI:
        assert (np.max(take(labels, split["train"]), axis=0) == np.max(labels, axis=0)).all()


def test_the_newest_rows_are_test_and_the_next_newest_validation() -> None:
    times = random.Random(0).sample(range(100), 100)
    split = split_rows(keys_of(range(100)), [0] * 100, SINGLE, TENTHS, seed=1, times=times)
    assert sorted(take(times, split["test"])) == list(range(90, 100))
    assert sorted(take(times, split["validation"])) == list(range(80, 90))
    assert older_rows(split, times) == {"validation": 0, "test": 0}


def test_equal_times_are_on_one_side_and_the_cut_is_the_nearest() -> None:
    times = [1] * 50 + [2] * 35 + [3] * 8 + [4] * 7
    split = split_rows(keys_of(range(100)), [0] * 100, SINGLE, {"test": 0.1}, seed=1, times=times)
    assert set(take(times, split["test"])) == {4}  # 7 rows miss ten by less than 15 do


def test_an_old_row_goes_with_its_newest_copy_and_is_counted() -> None:
    texts, groups = [99, *range(1, 100)], ["x", *"ab" * 44, *[f"group {n}" for n in range(10)], "a"]
    split = split_rows(keys_of(texts), [0] * 100, SINGLE, {"test": 0.1}, seed=1, times=list(range(100)))
    assert {0, 99} <= set(split["test"])
    assert older_rows(split, list(range(100))) == older_rows(split, [89, *range(1, 100)]) == {"test": 1}
    with_groups = split_rows(
        keys_of(range(100)), [0] * 100, SINGLE, {"test": 0.5}, 1, groups=groups, times=list(range(100))
    )
    assert {row for row in range(100) if groups[row] == "a"} <= set(with_groups["test"])


def test_a_label_that_only_new_rows_have_is_left_there() -> None:
    split = split_rows(
        keys_of(range(50)),
        [0] * 49 + [1],
        SINGLE,
        {"test": 0.1},
        1,
        times=[f"2024-01-{n % 31 + 1:02}" for n in range(49)] + ["2025-01-01"],
    )
    assert 49 in split["test"]


def test_times_of_every_kind_are_read_in_order() -> None:
    assert read_times(["2024-05-31", "2024-05-31T00:00:01", "2024-05-30 23:59"]).argsort().tolist() == [2, 0, 1]
    assert read_times(["2024-05-31T02:00+02:00", "2024-05-31T00:30Z"]).argsort().tolist() == [0, 1]
    assert read_times(["10", "9.5", "-1"]).argsort().tolist() == [2, 1, 0]
    assert read_times([date(2024, 5, 31), datetime(2024, 5, 30, 12)]).argsort().tolist() == [1, 0]
    far = 1_700_000_000_000_000_001
    assert read_times([far, far - 1]).argsort().tolist() == [1, 0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2024-05-31", "31/05/2024"], "row 2: '31/05/2024' is no time; write all times as 2024-05-31, "),
        (["2024-05-31", ""], "row 2: '' is no time; "),
        ([1.0, float("nan")], "row 2: nan is no time; "),
        ([1, True], "row 2: True is no time; "),
        ([1, 2, None], "row 3: None is no time; "),
        ([1, 2, "2024-05-31"], "row 3: '2024-05-31' is a time without a zone, the first row holds a number; "),
        (
            [datetime(2024, 5, 31), datetime(2024, 5, 31, tzinfo=UTC)],
            "row 2: '2024-05-31 00:00:00+00:00' is a time with a zone, the first row holds a time without a zone; ",
        ),
    ],
)
def test_a_time_that_cannot_be_read_or_compared_is_named_with_its_row(times: list[Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        split_rows(keys_of(range(len(times))), [0] * len(times), SINGLE, {"test": 0.1}, seed=1, times=times)
    assert str(caught.value).startswith(message)


def test_too_few_different_times_are_refused() -> None:
    with pytest.raises(DataError, match=r"^50 rows of 2 different times .* too few to split validation and test off"):
        split_rows(keys_of(range(50)), [0] * 50, SINGLE, TENTHS, seed=1, times=[1, 2] * 25)


def test_a_sample_is_no_head_of_a_sorted_file_and_holds_every_class() -> None:
    keys, labels = keys_of(range(1000)), [0] * 900 + [1] * 90 + [2] * 10
    rows = sample_rows(keys, labels, SINGLE, 100, seed=1)
    assert rows == sample_rows(keys, labels, SINGLE, 100, seed=1) != sample_rows(keys, labels, SINGLE, 100, seed=2)
    assert Counter(take(labels, rows)) == {0: 90, 1: 9, 2: 1}
    assert rows == sorted(rows) != list(range(100))
    assert set(take(labels, sample_rows(keys, labels, SINGLE, 3, seed=1))) == {0, 1, 2}
    assert len(sample_rows(keys, labels, SINGLE, 2, seed=1)) == 2
    assert sample_rows(keys, labels, SINGLE, 5000, seed=1) == list(range(1000))


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_a_smaller_sample_is_part_of_a_larger_one(problem: str) -> None:
    hot = multi_hot(500)
    labels = {MULTI: hot.tolist(), REGRESSION: [n / 500 for n in range(500)]}.get(problem, [n % 7 for n in range(500)])
    samples = [set(sample_rows(keys_of(range(500)), labels, problem, size, seed=1)) for size in range(0, 500, 9)]
    assert all(small < large for small, large in pairwise(samples))
    assert [len(sample) for sample in samples] == list(range(0, 500, 9))


def test_a_sample_of_multi_label_rows_holds_the_rare_labels_in_proportion() -> None:
    labels = [[1.0, float(n % 50 == 0)] for n in range(1000)]
    assert sum(labels[row][1] for row in sample_rows(keys_of(range(1000)), labels, MULTI, 500, seed=1)) == 10


def test_the_split_is_described_in_one_line() -> None:
    assert describe(SINGLE, TENTHS, 42, settled=(8000, 8000)) == (
        "stratified, equal texts together, by hash (seed 42): added rows move none of 8000"
    )
    assert describe(MULTI, TENTHS, 42, ["a"], settled=(70, 8000)) == (
        "stratified by all labels, equal texts and groups together, by hash (seed 42): added rows move none of 70 of "
        "8000, unless they join two groups"
    )
    assert describe(REGRESSION, TENTHS, 1) == "stratified by the target, equal texts together, by hash (seed 1)"
    assert describe(SINGLE, TENTHS, 1, times=[1]) == (
        "by time: the newest rows are test, the next newest validation; equal texts together, with their newest row"
    )
