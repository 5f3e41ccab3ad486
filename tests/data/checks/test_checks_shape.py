"""Class balance, drift between splits, and texts that say little or are cut."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conftest import rows_of

from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.data.checks.label_distribution import shape
from nlp_ft.data.checks.text_length import texts

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
NAMES = ["bad", "good", "mixed"]


def split(name: str, labels: list[Any], some: list[str] | None = None, pairs: list[str] | None = None) -> Split:
    some = some or [row["text"] for row in rows_of(len(labels), 0)]
    return Split(name, some, pairs, labels, lambda row: f"{name}.csv:{row + 2}")


def shape_of(labels: dict[str, list[Any]], problem: str = SINGLE, names: list[str] = NAMES) -> list[Finding]:
    return shape(Checked({name: split(name, some) for name, some in labels.items()}, problem, names))


def test_rare_classes_are_named_with_their_rows() -> None:
    (finding,) = shape_of({"train": [0] * 200 + [1] * 190 + [2] * 7})
    assert (finding.check, finding.severity, finding.rows) == ("rare_classes", "warning", 7)
    assert finding.message == "1 of 3 classes are rare: rows of 'mixed' 7"
    assert finding.advice.startswith("label more rows, or merge classes: fewer than 10 rows are hardly learned")
    (finding,) = shape_of({"train": [0] * 2000 + [1] * 1900 + [2] * 60})
    assert finding.severity == "note"
    assert shape_of({"train": [0] * 200 + [1] * 100 + [2] * 60}) == []


def test_rare_labels_of_several_are_found_too() -> None:
    rows = [[1.0, 0.0, float(n % 50 == 0)] for n in range(200)] + [[0.0, 1.0, 0.0]] * 200
    (finding,) = shape_of({"train": rows}, MULTI)
    assert finding.message == "1 of 3 classes are rare: rows of 'mixed' 4"


def test_a_class_that_a_split_lacks_is_named() -> None:
    found = shape_of({"train": [0, 1] * 100 + [2] * 50, "test": [0, 1] * 30})
    assert [f"{one.check} {one.split}: {one.message}" for one in found if one.check == "absent_classes"] == [
        "absent_classes test: no row of 'mixed'"
    ]


def test_labels_that_drift_between_splits_are_said_and_chance_is_not() -> None:
    rng = random.Random(0)
    even = {name: [rng.randrange(3) for _ in range(size)] for name, size in (("train", 3000), ("test", 300))}
    assert shape_of(even) == []
    many = {
        name: [int(rng.random() < share) for _ in range(200_000)] for name, share in (("train", 0.5), ("test", 0.52))
    }
    assert shape_of(many, names=NAMES[:2]) == []  # significant, and no matter
    (finding,) = shape_of({"train": [0, 1] * 500, "test": [0, 1, 1, 1] * 50}, names=NAMES[:2])
    assert (finding.check, finding.split) == ("label_drift", "train/test")
    assert finding.message == "the shares of the classes differ: 'bad' is 50.0% of train and 25.0% of test"
    assert finding.measures["gap"] == pytest.approx(0.25)


def test_a_small_split_that_drifts_is_told_and_a_label_of_several_by_its_own_share() -> None:
    (finding,) = shape_of({"train": [0, 1] * 2000, "test": [0, 0, 0, 1, 1] * 80}, names=NAMES[:2])
    assert finding.message.endswith("'bad' is 50.0% of train and 60.0% of test")
    both, one = [1.0, 1.0], [1.0, 0.0]
    (finding,) = shape_of({"train": [both, one] * 500, "test": [both, one, one, one, one] * 40}, MULTI, NAMES[:2])
    assert finding.message.endswith("'good' is 50.0% of train and 20.0% of test")


def test_targets_that_drift_are_said() -> None:
    rng = random.Random(0)
    train, alike = ([rng.gauss(0, 1) for _ in range(500)] for _ in range(2))
    assert shape_of({"train": train, "test": alike}, REGRESSION, []) == []
    (finding,) = shape_of({"train": train, "test": [value + 1 for value in alike]}, REGRESSION, [])
    assert finding.message.startswith("the distributions of the targets differ: their median is ")


def found(
    some: list[str], labels: list[int] | None = None, pairs: list[str] | None = None, **how: Any
) -> list[Finding]:
    labels = labels or [n % 2 for n in range(len(some))]
    return texts(Checked({"train": split("train", labels, some, pairs)}, SINGLE, NAMES), **how)


GOOD = [row["text"] for row in rows_of(60, 0)]


def test_sound_texts_give_no_finding() -> None:
    assert found(GOOD, count_tokens=lambda some: [len(text.split()) for text in some]) == []


def test_blank_texts_are_dropped_by_fix_and_one_word_texts_are_told() -> None:
    blank, single = found(["", "  \n", *GOOD, "hm"])
    assert (blank.check, blank.rows, blank.of, blank.drop) == ("blank_texts", 2, 63, {"train": [0, 1]})
    assert [one.where for one in blank.examples] == ["train.csv:2", "train.csv:3"]
    assert (single.check, single.severity, single.indices) == ("one_word_texts", "note", {"train": [62]})
    assert found(GOOD, pairs=[*GOOD[:-1], " "])[0].indices == {"train": [59]}


def test_texts_that_are_cut_are_counted_by_the_tokenizer_that_is_given() -> None:
    long = [" ".join([text] * 5) if n < 12 else text for n, text in enumerate(GOOD)]
    (finding,) = found(long, count_tokens=lambda some: [len(text.split()) for text in some], max_seq_length=20)
    assert (finding.check, finding.severity, finding.rows, finding.of) == ("long_texts", "warning", 12, 60)
    assert finding.message == "a text longer than 20 tokens, which is cut there; the longest has 35"
    assert found(long) == []


def test_a_beginning_or_end_that_many_texts_share_is_said_and_whether_it_tells_the_label() -> None:
    some = [f"Posted via the app: {text}" if n % 2 else f"{text} Sent from my phone" for n, text in enumerate(GOOD)]
    begin, end = found(some)
    assert begin.message == "texts that begin with \"posted via the app:\", 100% of them 'good'"
    assert (begin.severity, begin.rows) == ("warning", 30)
    assert end.message == "texts that end with \"sent from my phone\", 100% of them 'bad'"
    (both,) = found([f"{text} Sent from my phone" for text in GOOD])
    assert (both.severity, both.message) == ("note", 'texts that end with "sent from my phone"')
