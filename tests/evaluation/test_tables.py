import numpy as np

from nlp_ft.evaluation.metrics import confusion_matrix, per_class_table
from nlp_ft.evaluation.probabilities import SINGLE
from nlp_ft.evaluation.report.tables import format_confusion, format_per_class, format_table

FOUR = ["a", "b", "c", "d"]
REFERENCE = np.array([0, 0, 0, 1, 1, 2])
LOGITS = np.eye(4)[[0, 0, 1, 1, 3, 1]]


def test_per_class_text_is_aligned_and_cuts_long_names() -> None:
    names = ["good", "a\nname that goes on for much too long", "c", "d"]
    assert format_per_class(per_class_table(SINGLE, LOGITS, REFERENCE, names)).splitlines() == [
        "label                     precision  recall     f1  support",
        "good                          1.000   0.667  0.800        3",
        "a name that goes on for…      0.333   0.500  0.400        2",
        "c                             0.000   0.000  0.000        1",
        "d                                 -       -      -        0",
        "1 of 4 classes has no row; macro averages are over those that occur in the rows or the predictions, balanced "
        "accuracy over those in the rows.",
    ]


def test_confusion_text_has_references_down_and_predictions_across() -> None:
    assert format_confusion(confusion_matrix(LOGITS, REFERENCE, FOUR), FOUR).splitlines() == [
        "reference \\ predicted  a  b  c  d",
        "a                      2  1  0  0",
        "b                      0  1  0  1",
        "c                      0  1  0  0",
        "d                      0  0  0  0",
    ]


def test_confusion_text_numbers_the_columns_of_seven_classes() -> None:
    text = format_confusion(np.diag(range(7)).tolist(), list("abcdefg")).splitlines()
    assert text[0] == "reference \\ predicted  1  2  3  4  5  6  7"
    assert text[7] == "7 g                    0  0  0  0  0  0  6"


def test_tables_of_25_classes_show_the_20_most_frequent_and_the_confusions_and_say_so() -> None:
    names = [f"class {i}" for i in range(25)]
    labels = np.repeat(np.arange(25), np.arange(1, 26))  # class 0 occurs once, class 24 25 times
    logits = np.eye(25)[np.where(labels == 24, 3, labels)]
    text = format_per_class(per_class_table(SINGLE, logits, labels, names)).splitlines()
    assert [line.split()[1] for line in text[1:-1]] == [str(i) for i in range(5, 25)]
    assert text[-1] == "(the 20 most frequent of 25 classes)"
    assert format_confusion(confusion_matrix(logits, labels, names), names).splitlines() == [
        "reference  predicted as  rows",
        "class 24        class 3    25",
        "(the most frequent confusions, at most 20, of 25 classes)",
    ]


def test_a_table_is_aligned_left_then_right_and_a_wide_character_takes_two_columns() -> None:
    rows = [["task", "metric", "score"], ["\u5546\u54c1\u8a55\u8ad6", "f1", "0.5"], ["cafe\u0301", "accuracy", "0.25"]]
    assert format_table(rows, left=2).splitlines() == [
        "task      metric    score",
        "\u5546\u54c1\u8a55\u8ad6  f1          0.5",
        "cafe\u0301      accuracy   0.25",
    ]
