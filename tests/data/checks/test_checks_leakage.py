"""Columns and words that give the label away."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conftest import rows_of

from nlp_ft.data.checks.finding import Checked, Split
from nlp_ft.data.checks.label_leakage import leakage

SINGLE, REGRESSION = "single_label_classification", "regression"


def checked(labels: list[Any], texts: list[str] | None = None, problem: str = SINGLE, **others: list[Any]) -> Checked:
    texts = texts or [row["text"] for row in rows_of(len(labels), 0)]
    split = Split("train", texts, None, labels, lambda row: f"a.csv:{row + 2}", dict(others))
    return Checked({"train": split}, problem, ["bad", "good", "mixed"] if problem == SINGLE else [])


CHANCE = random.Random(0)
LABELS = [CHANCE.randrange(2) for _ in range(400)]
NOISE = [str(CHANCE.randrange(5)) for _ in LABELS]


@pytest.mark.parametrize(
    ("column", "way", "accuracy"),
    [
        (["yes" if label else "no" for label in LABELS], "value", "100.0%"),
        ([5 * label + CHANCE.random() for label in LABELS], "range", "100.0%"),
        ([f"{label if n % 50 else 1 - label}" for n, label in enumerate(LABELS)], "value", "98.0%"),
    ],
)
def test_a_column_whose_values_tell_the_label_is_named(column: list[Any], way: str, accuracy: str) -> None:
    (finding,) = leakage(checked(LABELS, verdict=column, noise=NOISE, id=list(range(400))))
    majority = max(LABELS.count(0), LABELS.count(1)) / 400
    assert (finding.check, finding.severity) == ("column_gives_label_away", "warning")
    assert finding.message == (
        f"column 'verdict' predicts the label of {accuracy} of rows by its {way} (the majority class: {majority:.1%})"
    )
    assert [example.label for example in finding.examples] == ["good", "bad"]


def test_what_most_rows_have_anyway_gives_nothing_away() -> None:
    rare = [int(n % 50 == 0) for n in range(400)]
    assert leakage(checked(rare, kind=["x", "y"] * 200)) == []
    assert leakage(checked(LABELS, name=[f"row {n}" for n in range(400)], noise=NOISE)) == []


def test_a_column_that_tells_a_target_is_named() -> None:
    targets = [n / 7 for n in range(400)]
    (finding,) = leakage(checked(targets, problem=REGRESSION, twice=[2 * target for target in targets]))
    assert "column 'twice' predicts the label of" in finding.message


def test_a_mark_that_one_class_alone_has_at_an_end_of_its_texts_is_named() -> None:
    rows = [row["text"] for row in rows_of(400, 0)]
    marked = [
        f"{text} #win" if label and n % 2 else text for n, (text, label) in enumerate(zip(rows, LABELS, strict=True))
    ]
    (finding,) = leakage(checked(LABELS, marked))
    assert finding.check == "word_gives_label_away"
    assert finding.message == "'#win' is at the end of texts with the label 'good' and in no text of another label"
    assert finding.rows == sum(LABELS[1::2])
    both = [text.replace("#win", "won") if n < 8 else text for n, text in enumerate(marked)]
    other = [*both[:9], "they won", *both[10:]]
    assert any("'#win'" in found.message for found in leakage(checked(LABELS, other)))


def test_words_that_bear_the_meaning_are_no_marks() -> None:
    rows = rows_of(400, 0)
    labels = [int(row["label"] == "positive") for row in rows]
    assert [found.check for found in leakage(checked(labels, [f"well {row['text']} then" for row in rows]))] == []
