"""Wrong labels: the features of the cheap model, its folds, what it doubts."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from nlp_ft.data.checks import label_errors, many_outputs
from nlp_ft.data.checks import tfidf as ngrams
from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.data.checks.label_errors import confident_joint_doubts, suspected
from nlp_ft.data.checks.linear_model import fold_of, predict
from nlp_ft.data.checks.tfidf import TfIdf, count_characters, count_words

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
WORDS = [["dull", "flat", "stale", "weak", "grim"], ["bright", "warm", "witty", "fresh", "fine"]]
OTHERS = [f"thing{number}" for number in range(40)]


def text_of(classes: Sequence[int], rng: random.Random) -> str:
    """Four words that tell each class, among eight that tell nothing."""
    words = [word for one in classes for word in rng.sample(WORDS[one], 4)] + rng.choices(OTHERS, k=8)
    rng.shuffle(words)
    return " ".join(words)


def split(name: str, texts: Sequence[str], labels: Sequence[Any], pairs: Sequence[str] | None = None) -> Split:
    return Split(name, texts, pairs, labels, lambda row: f"{name}.csv:{row + 2}")


def rows(name: str, size: int, flips: Sequence[int] = (), seed: int = 0) -> Split:
    rng = random.Random(seed)
    right = [rng.randrange(2) for _ in range(size)]
    texts = [text_of([label], rng) for label in right]
    return split(name, texts, [1 - label if row in flips else label for row, label in enumerate(right)])


def table(*splits: Split, problem: str = SINGLE, labels: Sequence[str] = ("bad", "good")) -> Checked:
    return Checked({one.name: one for one in splits}, problem, [] if problem == REGRESSION else list(labels))


# ---- features


def test_words_and_pairs_of_words_are_counted_as_by_hand() -> None:
    counts = count_words(["The cat, the CAT", "cat", "", "?!"])
    assert np.asarray(counts.sum(axis=1)).ravel().tolist() == [
        7,
        1,
        0,
        0,
    ]  # the, cat, the, cat, the cat, cat the, the cat
    assert counts.getnnz(axis=1).tolist() == [4, 1, 0, 0]
    cat = counts[1].indices[0]
    assert counts[0, cat] == 2


def test_words_are_those_of_any_script_and_a_character_where_no_spaces_stand() -> None:
    assert count_words(["très bien"]).nnz == 3
    assert count_words(["हिन्दी"]).nnz == 1  # its vowel signs are marks, no breaks
    assert count_words(["很好看"]).nnz == 5
    assert count_words(["a很b"]).nnz == 5


def test_characters_are_counted_within_words_and_their_edges() -> None:
    counts = count_characters(["abcd  e", "abcd e", "abcd\te "])
    assert counts[0].nnz == 3  # " abc", "abcd", "bcd "
    assert (counts[0] != counts[1]).nnz == (counts[0] != counts[2]).nnz == 0
    assert count_characters(["", "ab", "a :) b"]).getnnz(axis=1).tolist() == [0, 1, 1]  # " ab ", " :) "


def test_counts_are_those_of_scikit_learn() -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.choices(["ab", "Ab", "x", "don't", "9", "é!", "\n", "ab-cd"], k=9)) for _ in range(60)]
    theirs: Any = CountVectorizer(token_pattern=r"\w+", ngram_range=(1, 2)).fit_transform(texts)
    ours = count_words(texts)
    assert ours.nnz == theirs.nnz
    assert sorted(ours.data.tolist()) == sorted(theirs.data.tolist())


def test_counts_do_not_depend_on_how_texts_are_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one two", "", "two three four", " ", "one two two"] * 3
    whole = [count(texts) for count in (count_words, count_characters)]
    monkeypatch.setattr(ngrams, "_CHUNK", 5)
    parts = [count(texts) for count in (count_words, count_characters)]
    assert [(a != b).nnz for a, b in zip(whole, parts, strict=True)] == [0, 0]
    assert count_words([]).shape == (0, 1 << 21)


def test_tfidf_weighs_other_rows_as_it_learned_and_leaves_out_what_one_row_has() -> None:
    texts = ["good film", "good book", "bad film", "bad book", "once"]
    tfidf = TfIdf(100, characters=False)
    features = tfidf.fit_transform(texts)
    assert features.shape == (5, 4)
    assert features[4].nnz == 0
    assert (abs(tfidf.transform(texts[:2]) - features[:2]) > 1e-6).nnz == 0
    assert tfidf.transform(["unseen words"]).nnz == 0
    assert TfIdf(4, characters=False).fit_transform(texts).shape[1] == 2  # "good" and "bad " alone are read


# ---- folds


def test_equal_texts_are_in_one_fold_labels_are_spread_and_order_is_of_no_account() -> None:
    train = rows("train", 400)
    texts, labels = [*train.texts, *(text.upper() for text in train.texts[:100])], [*train.labels, *train.labels[:100]]
    fold = fold_of(split("train", texts, labels), 5, 42)
    assert (fold[:100] == fold[400:]).all()
    assert Counter(fold[:400].tolist()) == dict.fromkeys(range(5), 80)
    ones = Counter(number for number, label in zip(fold[:400].tolist(), labels, strict=False) if label)
    assert max(ones.values()) - min(ones.values()) <= 1
    again = fold_of(split("train", texts[::-1], labels[::-1]), 5, 42)
    assert (again[::-1] == fold).all()


def test_the_answer_about_a_row_does_not_depend_on_its_own_label() -> None:
    train = rows("train", 200)
    before = predict(table(train), 5, 42).by_split["train"]
    flipped = split("train", train.texts, [1 - train.class_ids[0], *train.class_ids[1:]])
    after = predict(table(flipped), 5, 42).by_split["train"]
    right = train.class_ids[0]
    assert before[0, right] > 0.7
    assert after[0, right] > 0.7


# ---- the confident joint


def test_confident_joint_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    first = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.75])
    # thresholds: class 0 (.9 + .8 + .1) / 3 = .6, class 1 (.8 + .7 + .25) / 3 = .583
    assert confident_joint_doubts(labels, np.stack([first, 1 - first], axis=1)).tolist() == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_class_without_rows_is_never_the_likelier_one() -> None:
    probabilities = np.array([[0.1, 0.1, 0.8], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    assert not confident_joint_doubts(np.array([0, 0, 1, 1]), probabilities).any()


# ---- findings


def test_flipped_labels_come_first_in_train_and_in_test() -> None:
    flips = range(0, 600, 30)
    found = suspected(table(rows("train", 600, flips), rows("test", 100, [7, 8], seed=1)))
    assert [finding.split for finding in found] == ["train", "test"]
    train, test = found
    assert (train.check, train.severity, train.drop, train.rewrite) == ("wrong_labels", "warning", {}, {})
    assert set(train.indices["train"][:8]) <= set(flips)
    assert (
        len(set(train.indices["train"]) & set(flips)) >= 10
    )  # about half lies above the mean probability of its class
    assert set(test.indices["test"][:2]) == {7, 8}
    assert (train.rows, train.of) == (len(train.indices["train"]), 600)
    assert train.scores["train"] == sorted(train.scores["train"])
    assert 0 <= train.scores["train"][0] < 0.2
    assert train.measures["estimated_share"] == pytest.approx(20 / 600, abs=0.02)
    assert train.measures["accuracy"] > 0.9


def test_the_whole_finding_reads_as_this() -> None:
    checked = table(rows("train", 600, [3]))
    (finding,) = suspected(checked)
    example = finding.examples[0]
    given = checked.splits["train"].class_ids[3]
    assert (example.where, example.label) == ("train.csv:5", ["bad", "good"][given])
    other, score = ["good", "bad"][given], finding.scores["train"][0]
    assert example.note == f"likely {other} ({1 - score:.2f}; {example.label} {score:.2f})"
    accuracy, majority = finding.measures["accuracy"], finding.measures["majority"]
    assert finding.message == (
        f"labels doubted by a cheap model (out-of-fold accuracy {accuracy:.3f}, majority {majority:.3f})"
    )
    assert finding.advice.startswith("suspects, not proof")


def test_a_sound_table_gives_no_finding() -> None:
    assert suspected(table(rows("train", 400), rows("test", 60, seed=1))) == []


def test_flips_among_three_classes_are_found_and_the_likely_class_is_named() -> None:
    rng = random.Random(0)
    words = ["red crimson rose", "blue azure navy", "green olive mint"]
    right = [rng.randrange(3) for _ in range(300)]
    texts = [" ".join([*words[label].split(), *rng.choices(OTHERS, k=8)]) for label in right]
    given = [(label + 1) % 3 if row in (10, 20, 30, 40) else label for row, label in enumerate(right)]
    (finding,) = suspected(table(split("train", texts, given), labels=["r", "b", "g"]))
    assert set(finding.indices["train"][:4]) == {10, 20, 30, 40}
    row = finding.indices["train"][0]
    assert finding.examples[0].note.startswith(f"likely {'rbg'[right[row]]} (")


def test_several_labels_are_doubted_one_by_one() -> None:
    rng = random.Random(0)
    right = [[rng.randrange(2), rng.randrange(2)] for _ in range(500)]
    texts = [text_of([one for one in (0, 1) if row[one]], rng) for row in right]
    given = [[float(on) for on in row] for row in right]
    flips = {row: row % 2 for row in range(0, 500, 33)}
    for row, label in flips.items():
        given[row][label] = 1 - given[row][label]
    (finding,) = suspected(table(split("train", texts, given), problem=MULTI, labels=["sad", "glad"]))
    for row, example in zip(finding.indices["train"][:4], finding.examples, strict=False):
        name = ["sad", "glad"][flips[row]]
        assert example.note.startswith(f"likely {name} (" if right[row][flips[row]] else f"likely not {name} (")


def test_values_far_from_the_predicted_ones_are_found() -> None:
    rng = random.Random(0)
    right = [rng.randrange(2) for _ in range(400)]
    texts = [text_of([label], rng) for label in right]
    values = [3.0 * label + rng.uniform(-0.5, 0.5) for label in right]
    values[17] += 9
    train, test = split("train", texts, values), split("test", texts[:50], [*values[:30], -20.0, *values[31:50]])
    found = suspected(table(train, test, problem=REGRESSION))
    assert [(finding.split, finding.indices[finding.split][0]) for finding in found] == [("train", 17), ("test", 30)]
    assert found[0].scores["train"][0] > 4
    assert found[0].message.startswith("labels far from the predictions of a cheap model (out-of-fold R2 0.")
    assert "robust standard deviations off" in found[0].examples[0].note
    values[17] -= 9
    assert suspected(table(split("train", texts, values), problem=REGRESSION)) == []


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_labels_that_nothing_tells_are_not_doubted_and_that_is_said(problem: str) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(OTHERS, k=10)) for _ in range(300)]
    kinds = {SINGLE: lambda: rng.randrange(2), MULTI: lambda: [rng.randrange(2), 1], REGRESSION: rng.random}
    (finding,) = suspected(table(split("train", texts, [kinds[problem]() for _ in texts]), problem=problem))
    assert (finding.severity, finding.rows, finding.indices) == ("note", 0, {})
    assert finding.message.startswith("a cheap model hardly learns these labels (")


def test_too_few_rows_are_said() -> None:
    (finding,) = suspected(table(rows("train", 49)))
    assert (finding.severity, finding.message) == ("note", "too few rows to look for wrong labels: 49, wanted 50")


def test_labels_of_a_class_of_few_rows_are_left_alone() -> None:
    train = rows("train", 400)
    labels = [2 if row < 9 else label for row, label in enumerate(train.labels)]
    found = suspected(table(split("train", train.texts, labels), labels=["bad", "good", "odd"]))
    assert not {row for finding in found for row in finding.indices["train"]} & set(range(9))


def _many(rows: int, classes: int, flips: Sequence[int]) -> Checked:
    """Rows of many classes, told by one of two words among eight that tell nothing."""
    rng = random.Random(0)
    right = [row % classes for row in range(rows)]
    texts = [" ".join([*rng.choices(OTHERS, k=8), f"tells{label}{rng.choice('ab')}"]) for label in right]
    labels = [(label + 7) % classes if row in flips else label for row, label in enumerate(right)]
    return Checked({"train": split("train", texts, labels)}, SINGLE, [f"class {n:03d}" for n in range(classes)])


def test_flips_among_sixty_classes_are_found() -> None:
    flips = range(0, 1180, 59)
    doubted = suspected(_many(1200, 60, flips))[0].indices["train"]
    assert len(set(doubted) & set(flips)) >= 18
    assert len(set(doubted) - set(flips)) <= 2


def test_many_classes_take_about_as_long_as_few() -> None:
    seconds = []
    for classes in (9, 300):
        checked = _many(3000, classes, ())
        started = time.process_time()
        suspected(checked)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 4 * seconds[0] + 2  # one class after the other: thirty times


def test_more_classes_than_fit_in_memory_are_left_alone_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_errors, "_MOST_CELLS", 1000)
    (finding,) = suspected(_many(60, 20, ()))
    assert finding.severity == "note"
    assert finding.message == (
        "too many classes to look for wrong labels in memory: 20 classes of 60 rows; check a part of them"
    )


def test_naive_bayes_of_all_classes_at_once_is_that_of_each() -> None:
    rng = np.random.default_rng(0)
    features = csr_matrix(rng.random((40, 30)) * (rng.random((40, 30)) < 0.2), dtype=np.float32)
    targets = np.arange(40)[:, None] % 5 == np.arange(5)
    together = many_outputs.fit_predict(features, targets, [features], 0.1)[0][..., 0]
    for number, target in enumerate(targets.T):
        yes, no = (np.asarray(features[rows].sum(axis=0)).ravel() + 0.1 for rows in (target, ~target))
        odds = np.log(yes / yes.sum()) - np.log(no / no.sum())
        bias = np.log((target.sum() + 0.5) / ((~target).sum() + 0.5))
        np.testing.assert_allclose(together[:, number], features @ odds + bias, rtol=1e-4, atol=1e-4)


def test_a_class_that_no_row_has_is_no_trouble() -> None:
    flips = range(0, 300, 20)
    (finding,) = suspected(table(rows("train", 300, flips), labels=["bad", "good", "unseen"]))
    assert set(finding.indices["train"][:4]) <= set(flips)


@pytest.mark.parametrize("texts", [[""] * 80, [f"w{number}" for number in range(80)]])
@pytest.mark.parametrize("problem", [SINGLE, REGRESSION])
def test_texts_that_share_no_word_are_no_trouble(texts: list[str], problem: str) -> None:
    labels = [float(row % 2) if problem == REGRESSION else row % 2 for row in range(80)]
    (finding,) = suspected(table(split("train", texts, labels), problem=problem))
    assert finding.severity == "note"


def test_the_second_text_of_a_pair_counts() -> None:
    train = rows("train", 300, [8])
    rng = random.Random(1)
    plain = [" ".join(rng.choices(OTHERS, k=5)) for _ in range(300)]
    (finding,) = suspected(table(split("train", plain, train.labels, pairs=train.texts)))
    assert finding.indices["train"][0] == 8


def test_at_most_a_twentieth_is_listed_and_that_is_said() -> None:
    (finding,) = suspected(table(rows("train", 400, range(0, 400, 8))))
    assert finding.rows == len(finding.indices["train"]) == 20
    assert finding.measures["estimated_share"] > 0.08
    assert finding.message.endswith("; the 5% it doubts most are listed")


def test_two_runs_find_the_same_and_progress_ends_where_it_said() -> None:
    def run() -> tuple[list[Finding], list[tuple[int, int]]]:
        steps: list[tuple[int, int]] = []
        checked = table(rows("train", 300, [5, 6]), rows("test", 60, [1], seed=2))
        return suspected(checked, lambda done, total: steps.append((done, total))), steps

    first, steps = run()
    assert steps == [(number, 6) for number in range(1, 7)]
    assert run() == (first, steps)
