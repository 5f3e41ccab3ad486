import csv
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.baselines import Baseline, baselines, compare, verdict
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted

pytestmark = pytest.mark.filterwarnings("error")

MOVIES = Path(__file__).parents[2] / "data" / "movies"
TEXTS = ["a lovely film", "lovely and warm", "a dull film", "dull and cold", "so dull"]
NAMES = ["no", "yes"]


def test_majority_is_the_one_of_the_training_split_and_scored_on_the_other() -> None:
    found = baselines(SINGLE, TEXTS, [1, 1, 0, 0, 0], ["x", "y", "z"], [1, 1, 0], NAMES)["majority"]
    assert predicted(SINGLE, found.logits).tolist() == [0, 0, 0]
    assert found.metrics["accuracy"] == pytest.approx(1 / 3)
    assert found.metrics["auroc"] == 0.5
    assert (found.name, found.title) == ("majority", "the majority class")


def test_majority_of_a_multi_label_problem_is_taken_label_by_label() -> None:
    found = baselines(MULTI, TEXTS[:3], [[1, 0], [1, 0], [0, 0]], ["x"], [[1, 1]], NAMES)["majority"]
    assert predicted(MULTI, found.logits).tolist() == [[1, 0]]
    assert np.isfinite(found.logits).all()


def test_majority_of_a_regression_is_the_training_mean() -> None:
    found = baselines(REGRESSION, TEXTS[:2], [1.0, 2.0], ["x", "y"], [0.5, 3.5], [])["majority"]
    assert found.logits.tolist() == [1.5, 1.5]
    assert found.metrics["mae"] == 1.5


def test_tfidf_learns_words_for_all_three_problems() -> None:
    test = ["lovely", "dull"]
    single = baselines(SINGLE, TEXTS, [1, 1, 0, 0, 0], test, [1, 0], NAMES)["tfidf"]
    multi = baselines(MULTI, TEXTS, [[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], test, [[1, 0], [0, 1]], NAMES)["tfidf"]
    ridge = baselines(REGRESSION, TEXTS, [2.0, 2.0, -1.0, -1.0, -1.0], test, [2.0, -1.0], [])["tfidf"]
    assert (single.metrics["accuracy"], multi.metrics["subset_accuracy"]) == (1, 1)
    assert ridge.logits[0] > 1 > 0 > ridge.logits[1]
    assert (single.title, ridge.title) == ("TF-IDF + logistic regression", "TF-IDF + ridge regression")


def test_metrics_of_a_baseline_are_those_of_its_logits() -> None:
    labels = np.array([0, 1, 0])
    for found in baselines(SINGLE, TEXTS, [1, 1, 0, 0, 2], ["lovely", "dull", "so"], labels, [*NAMES, "hm"]).values():
        assert found.logits.shape == (3, 3)
        assert found.metrics == compute_metrics(SINGLE, found.logits, labels, [*NAMES, "hm"])


def test_a_class_of_one_training_row_is_learnt_and_a_class_of_none_is_never_predicted() -> None:
    names = ["dull", "lovely", "odd", "unseen"]
    found = baselines(SINGLE, [*TEXTS, "quite odd"], [1, 1, 0, 0, 0, 2], ["odd", "dull", "zzz"], [2, 0, 3], names)[
        "tfidf"
    ]
    assert predicted(SINGLE, found.logits)[:2].tolist() == [2, 0]
    assert (found.logits[:, 3] < found.logits[:, :3].min(axis=1)).all()


def test_one_answer_in_the_whole_training_split_is_the_answer() -> None:
    found = baselines(SINGLE, TEXTS, [1] * 5, ["dull", "x"], [1, 0], NAMES)["tfidf"]
    assert predicted(SINGLE, found.logits).tolist() == [1, 1]
    found = baselines(MULTI, TEXTS, [[1, 0]] * 5, ["dull"], [[1, 0]], NAMES)["tfidf"]
    assert predicted(MULTI, found.logits).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("good", "bad"),
    [(":)", ":("), ("这部电影很好看", "这部电影很难看"), ("หนังดีมาก", "หนังแย่มาก"), ("すばらしい映画", "つまらない映画")],
)
def test_texts_without_words_or_without_spaces_are_told_apart_by_characters(good: str, bad: str) -> None:
    train = [good, good + good, bad, bad + bad] * 2
    test = ["!" + good + "!?", "?" + bad + "!"]
    found = baselines(SINGLE, train, [1, 1, 0, 0] * 2, test, [1, 0], NAMES)
    assert found["tfidf"].metrics["accuracy"] == 1


def test_empty_texts_leave_the_majority_alone_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert list(baselines(SINGLE, ["", ""], [0, 1], ["x"], [1], NAMES)) == ["majority"]
    assert caplog.messages == ["No TF-IDF baseline: the training texts are empty."]


def test_the_two_sides_of_a_pair_are_told_apart() -> None:
    train = [("sun", "rain"), ("rain", "sun")] * 4
    found = baselines(SINGLE, train, [0, 1] * 4, [("sun", "rain"), ("rain", "sun")], [0, 1], NAMES)
    assert found["tfidf"].metrics["accuracy"] == 1
    blank = baselines(SINGLE, [("sun", ""), ("rain", "")] * 4, [0, 1] * 4, [("rain", "x")], [1], NAMES)
    assert blank["tfidf"].metrics["accuracy"] == 1


def test_two_runs_give_the_same_logits() -> None:
    first, second = (
        baselines(REGRESSION, TEXTS, [2.0, 1.0, 0.0, -1.0, 0.5], ["lovely dull"], [1.0], []) for _ in range(2)
    )
    assert first["tfidf"].logits.tolist() == second["tfidf"].logits.tolist()


@pytest.mark.skipif(not MOVIES.exists(), reason="data/movies is made by the data script under recipes/data")
def test_tfidf_on_the_movies_validation_split_reaches_what_was_measured() -> None:
    splits = {}
    for split in ("train", "validation"):
        with (MOVIES / f"{split}.csv").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        splits[split] = (
            [row["text"] for row in rows],
            [int(row["label"] == "positive") for row in rows],
            [float(row["score"]) for row in rows],
        )
    (train, labels, scores), (test, test_labels, test_scores) = splits.values()
    binary = baselines(SINGLE, train, labels, test, test_labels, ["negative", "positive"])
    ridge = baselines(REGRESSION, train, scores, test, test_scores, [])
    assert binary["tfidf"].metrics["accuracy"] == pytest.approx(0.800, abs=0.005)
    assert ridge["tfidf"].metrics["pearson"] == pytest.approx(0.722, abs=0.005)


def test_splits_that_do_not_fit_say_which() -> None:
    with pytest.raises(
        DataError, match=re.escape("the training split has 5 texts and 2 labels; wanted the same, not 0.")
    ):
        baselines(SINGLE, TEXTS, [0, 1], ["x"], [0], NAMES)
    with pytest.raises(DataError, match=r"^the test split has 0 texts and 0 labels; wanted the same, not 0\.$"):
        baselines(SINGLE, TEXTS, [0, 1, 0, 1, 0], [], [], NAMES)
    with pytest.raises(DataError, match=r"^label -1 in row 1 is not a class id from 0 to 1\.$"):
        baselines(SINGLE, ["a", "b"], [0, -1], ["x"], [0], NAMES)
    with pytest.raises(ConfigError, match="problem type 'ranking' is not one of"):
        baselines("ranking", ["a"], [0], ["x"], [0], NAMES)


def scored(
    problem_type: str, name: str, logits: np.ndarray, labels: np.ndarray, names: Sequence[str] = NAMES
) -> Baseline:
    titles = {"majority": "the majority class", "tfidf": "TF-IDF + logistic regression"}
    return Baseline(name, titles[name], compute_metrics(problem_type, logits, labels, names), logits)


def rivals(rows: int, wrong: int) -> tuple[np.ndarray, dict[str, Baseline]]:
    """Alternating labels, a majority baseline, and a TF-IDF that errs on the first `wrong` rows."""
    labels = np.arange(rows) % 2
    answers = np.where(np.arange(rows) < wrong, 1 - labels, labels)
    majority = scored(SINGLE, "majority", np.tile([1.0, 0.0], (rows, 1)), labels)
    return labels, {"majority": majority, "tfidf": scored(SINGLE, "tfidf", np.eye(2)[answers], labels)}


def test_verdict_of_a_better_model_compares_it_with_the_better_baseline() -> None:
    labels, against = rivals(400, wrong=80)
    said = verdict(SINGLE, np.eye(2)[labels], labels, against)
    assert said == (
        "Fine-tuning beats TF-IDF + logistic regression by 20.0 points of macro-F1 (100.0 against 80.0; "
        "one standard error of the difference on 400 rows is 1.9)."
    )


def test_verdict_of_the_same_answers_is_that_fine_tuning_bought_nothing() -> None:
    labels, against = rivals(100, wrong=20)
    assert verdict(SINGLE, against["tfidf"].logits, labels, against) == (
        "Fine-tuning bought nothing here over TF-IDF + logistic regression: macro-F1 80.0 against 80.0, and one standard "
        "error of the difference on 100 rows is 0.0; use the baseline, get more data, or try another checkpoint."
    )


def test_verdict_within_two_standard_errors_is_that_fine_tuning_bought_nothing() -> None:
    labels, against = rivals(100, wrong=20)
    logits = np.eye(2)[np.where((np.arange(100) >= 10) & (np.arange(100) < 28), 1 - labels, labels)]  # 18 wrong rows
    assert verdict(SINGLE, logits, labels, against).startswith("Fine-tuning bought nothing here over TF-IDF")


def test_verdict_of_a_worse_model_says_so() -> None:
    labels, against = rivals(100, wrong=20)
    said = verdict(SINGLE, np.eye(2)[1 - labels], labels, against)
    assert said.startswith(
        "Fine-tuning is worse than TF-IDF + logistic regression by 80.0 points of macro-F1 (0.0 against"
    )
    assert said.endswith("use the baseline, or change the learning rate, the number of epochs or the checkpoint.")


def test_verdict_on_few_rows_gives_none() -> None:
    labels, against = rivals(6, wrong=2)
    assert verdict(SINGLE, np.eye(2)[labels], labels, against) == (
        "Too few rows to say what fine-tuning bought over TF-IDF + logistic regression: macro-F1 100.0 against 66.7 "
        "on 6 rows; score 30 or more."
    )


def test_verdict_of_a_regression_wants_a_smaller_error() -> None:
    labels = np.linspace(-2, 2, 50)
    against = {"majority": scored(REGRESSION, "majority", np.zeros(50), labels)}
    said = verdict(REGRESSION, labels[:, None] / 2, labels, against)
    assert said.startswith(
        "Fine-tuning beats the majority class by 0.589 RMSE (0.589 against 1.178; one standard error"
    )
    assert "is worse than" in verdict(REGRESSION, labels * 3, labels, against)


def test_verdict_says_which_classes_the_macro_f1_leaves_out() -> None:
    labels, names = np.arange(40) % 20, [str(number) for number in range(80)]
    right, wrong = np.eye(80)[labels], np.eye(80)[(labels + 1) % 20]
    against = {"majority": scored(SINGLE, "majority", wrong, labels, names)}
    better = verdict(SINGLE, right, labels, against)
    assert better.startswith("Fine-tuning beats the majority class by 100.0 points of macro-F1 (100.0 against 0.0; one")
    assert better.endswith("on 40 rows is 0.0 (60 of 80 classes have no row there and are left out unless predicted)).")
    against = {"majority": scored(SINGLE, "majority", wrong[:20], labels[:20], names)}
    few = verdict(SINGLE, right[:20], labels[:20], against)
    assert "(60 of 80 classes have no row there" in few


def test_verdict_of_a_multi_label_problem_is_by_micro_f1() -> None:
    labels = np.tile([[1.0, 0.0], [0.0, 1.0]], (20, 1))
    against = {"majority": scored(MULTI, "majority", np.ones((40, 2)), labels)}
    assert verdict(MULTI, 2 * labels - 1, labels, against).startswith(
        "Fine-tuning beats the majority class by 33.3 points of micro-F1 (100.0 against 66.7; one standard error"
    )


def near(problem_type: str, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two logits, the first of which is the better by so small steps, or the worse where they are below 0."""
    rng, rows = np.random.default_rng(1), 100
    answers = np.arange(rows) % 2
    if problem_type == REGRESSION:
        labels, errors = np.linspace(-2, 2, rows), rng.normal(size=rows)
        ours, theirs = (labels + errors * np.where(np.arange(rows) < 2 * count, 0.7, 1) for count in (step, -step))
        return labels, ours[:, None], theirs[:, None]
    wrong = (np.arange(rows) < count for count in (20 - step, 20))
    hot = [np.eye(2)[np.where(each, 1 - answers, answers)] for each in wrong]
    return (np.eye(2)[answers] if problem_type == MULTI else answers), 2 * hot[0] - 1, 2 * hot[1] - 1


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI, REGRESSION])
def test_verdict_says_better_or_worse_from_two_standard_errors_on(problem_type: str) -> None:
    seen = set()
    for step in range(-12, 13):
        labels, ours, theirs = near(problem_type, step)
        mine, others, error = compare(problem_type, ours, theirs, labels)
        gain = (others - mine if problem_type == REGRESSION else mine - others) / (error or 1)
        said = verdict(problem_type, ours, labels, {"majority": scored(problem_type, "majority", theirs, labels)})
        wanted = "bought nothing" if abs(gain) <= 2 else "beats" if gain > 0 else "is worse than"
        assert said.startswith(f"Fine-tuning {wanted} "), (step, gain)
        seen.add(int(gain))
    assert {-2, -1, 0, 1, 2} <= seen  # each side of both edges


def test_verdict_of_a_regression_compares_with_the_baseline_of_the_smaller_error() -> None:
    labels = np.linspace(-2, 2, 50)
    against = {
        name: scored(REGRESSION, name, labels * share, labels) for name, share in (("majority", 0), ("tfidf", 0.9))
    }
    assert verdict(REGRESSION, labels[:, None] / 2, labels, against).startswith("Fine-tuning is worse than TF-IDF")


def test_the_standard_error_is_that_of_paired_rows() -> None:
    labels, against = rivals(400, wrong=100)
    wrong = (np.arange(400) >= 50) & (np.arange(400) < 130)  # 50 rows that both get wrong
    said = verdict(SINGLE, np.eye(2)[np.where(wrong, 1 - labels, labels)], labels, against)
    ours_only, theirs_only = 30 / 400, 50 / 400
    paired = 100 * ((ours_only + theirs_only - (ours_only - theirs_only) ** 2) / 400) ** 0.5  # McNemar's, of accuracy
    error = re.search(r"on 400 rows is ([\d.]+)", said)
    assert error is not None
    assert float(error[1]) == pytest.approx(paired, rel=0.1)
