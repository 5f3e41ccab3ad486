"""Exports of annotation programs: texts and labels are found and said; what nobody accepted is not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nlp_ft.config import DataArguments
from nlp_ft.data import load_labelled, open_texts, read_rows, read_table
from nlp_ft.errors import DataError


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(rows: list[Any], name: str = "a.jsonl") -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def array(rows: list[Any], name: str = "a.json") -> str:
    Path(name).write_text(json.dumps(rows, indent=1))
    return name


def read(name: str, **flags: Any) -> tuple[list[str], list[Any], str, list[str]]:
    """Texts, labels by name, the problem and the notes."""
    data = read_rows(DataArguments(train_file=[name], **flags))
    rows = data.rows["train"].data
    named = [
        data.labels[cell]
        if isinstance(cell, int)
        else [label for label, on in zip(data.labels, cell, strict=True) if on]
        for cell in rows["label"]
    ]
    return list(rows["text"]), named, data.problem, data.notes


def refusal(name: str) -> str:
    with pytest.raises(DataError) as caught:
        read(name)
    return str(caught.value)


TEXTS = [f"text number {n}" for n in range(6)]
SINGLE, MULTI = "single_label_classification", "multi_label_classification"


# ---- spaCy


@pytest.mark.parametrize("write", [lines, array])
@pytest.mark.parametrize("pair", [False, True])
def test_cats_of_spacy_with_one_1_a_text_are_classes(write: Any, pair: bool) -> None:
    rows = [{"text": text, "cats": {"GOOD": n % 2 + 0.0, "BAD": 1.0 - n % 2}} for n, text in enumerate(TEXTS)]
    pairs = [[row["text"], {"cats": row["cats"]}] for row in rows]
    name = array(pairs) if pair and write is array else write(rows)
    texts, labels, problem, notes = read(name)
    assert (texts, labels, problem) == (TEXTS, ["BAD", "GOOD"] * 3, SINGLE)
    assert notes[0] == f"{name}: read as spaCy's cats (1 applies, 0 does not); each text has one, so label is its name"


def test_cats_of_spacy_with_several_or_no_1_are_several_labels() -> None:
    cats = [{"A": 1, "B": 1}, {"A": 0, "B": 0}, {"A": True, "B": False}, {"B": 1.0, "A": 0.0}] * 2
    name = lines([{"text": f"text {n}", "cats": each} for n, each in enumerate(cats)])
    _, labels, problem, notes = read(name)
    assert (labels, problem) == ([["A", "B"], [], ["A"], ["B"]] * 2, MULTI)
    assert "4 texts have none or several, so labels are lists" in notes[0]


def test_one_cat_of_spacy_is_two_classes_and_a_fraction_is_refused() -> None:
    name = lines([{"text": text, "cats": {"INSULT": n % 2}} for n, text in enumerate(TEXTS)])
    assert read(name)[1] == ["not INSULT", "INSULT"] * 3
    name = lines([{"text": "x", "cats": {"A": 0.7, "B": 0.3}}])
    assert refusal(name) == "a.jsonl, row 1: cats['A'] is 0.7; wanted 0 or 1."


# ---- Prodigy


def test_labels_of_prodigy_that_were_rejected_or_ignored_are_left_out_and_counted() -> None:
    answers = ["accept", "accept", "reject", "accept", "ignore", "reject"]
    rows = [
        {"text": text, "label": "AB"[n % 2], "_input_hash": n, "answer": answer}
        for n, (text, answer) in enumerate(zip(TEXTS, answers, strict=True))
    ]
    texts, labels, problem, notes = read(lines(rows))
    assert (texts, labels, problem) == ([TEXTS[0], TEXTS[1], TEXTS[3]], ["A", "B", "B"], SINGLE)
    assert "a.jsonl: 3 rows left out, as the annotation export marks them: 2 rejected, 1 ignored" in notes


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rejected_rows_of_other_formats_are_left_out_too(ending: str) -> None:
    import pandas as pd

    frame = pd.DataFrame({"text": TEXTS, "label": ["a", "b"] * 3, "answer": ["accept"] * 4 + ["reject", "ignore"]})
    frame.to_csv("a.csv", index=False)
    frame.to_parquet("a.parquet")
    assert read(f"a.{ending}")[0] == TEXTS[:4]
    data, notes = load_labelled(f"a.{ending}", ["a", "b"], SINGLE)
    assert list(data["text"]) == TEXTS[:4]
    assert any("2 rows left out" in note for note in notes)


def test_a_column_of_answers_that_is_the_label_or_holds_other_words_marks_nothing() -> None:
    rows = [{"text": text, "answer": ["accept", "reject"][n % 2]} for n, text in enumerate(TEXTS)]
    assert read(lines(rows), label_column_name="answer")[1] == ["accept", "reject"] * 3
    rows = [{"text": text, "label": "ab"[n % 2], "answer": ["ignore", "yes"][n % 2]} for n, text in enumerate(TEXTS)]
    assert read(lines(rows))[0] == TEXTS


def test_choices_of_prodigy_are_labels() -> None:
    rows: list[Any] = [
        {"text": text, "options": [{"id": "A"}], "accept": ["AB"[n % 2]], "answer": "accept"}
        for n, text in enumerate(TEXTS)
    ]
    rows += [{"text": "no", "accept": ["A"], "answer": "reject"}, {"text": "none", "accept": [], "answer": "accept"}]
    texts, labels, problem, notes = read(lines(rows))
    assert (texts, labels, problem) == (TEXTS, ["A", "B"] * 3, SINGLE)
    assert "a.jsonl: 2 rows left out, as the annotation export marks them: 1 rejected, 1 not annotated" in notes
    for row in rows:
        row["config"] = {"choice_style": "multiple"}
    texts, labels, problem, _ = read(lines(rows))
    assert (texts, labels, problem) == ([*TEXTS, "none"], [["A"], ["B"]] * 3 + [[]], MULTI)


def test_when_all_were_rejected_it_is_said() -> None:
    rows = [{"text": text, "label": "AB"[n % 2], "answer": "reject"} for n, text in enumerate(TEXTS)]
    assert refusal(lines(rows)) == "a.jsonl: no row is left; the annotation export marks all of them: 6 rejected."


# ---- Label Studio


def annotation(*choices: str, control: str = "sentiment", **more: Any) -> dict[str, Any]:
    result = {"type": "choices", "value": {"choices": list(choices)}, "from_name": control, "to_name": "text"}
    return {"result": [result] if choices else [], **more}


def task(text: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "data": {"text": text}, "annotations": list(annotations), "predictions": []}


def test_choices_of_label_studio_are_labels() -> None:
    rows = [task(text, annotation(["bad", "good"][n % 2])) for n, text in enumerate(TEXTS)]
    texts, labels, problem, notes = read(array(rows))
    assert (texts, labels, problem) == (TEXTS, ["bad", "good"] * 3, SINGLE)
    assert notes[0] == (
        "a.json: read as a Label Studio export, label out of its 'sentiment'; each text has one, so label is its name"
    )
    rows.append(task("both", annotation("bad", "good")))
    assert read(array(rows))[1:3] == ([*[["bad"], ["good"]] * 3, ["bad", "good"]], MULTI)


def test_tasks_that_were_skipped_rejected_or_not_annotated_are_left_out_and_counted() -> None:
    rows = [
        *(task(text, annotation(["bad", "good"][n % 2], was_cancelled=False)) for n, text in enumerate(TEXTS)),
        task("cancelled", annotation("bad", was_cancelled=True)),
        task("skipped", annotation("bad", skipped=True)),
        task("none"),
        task("empty", annotation()),
        task("turned down", annotation("bad", reviews=[{"accepted": True}, {"accepted": False}])),
        task("even", annotation("bad"), annotation("good")),
    ]
    texts, labels, _, notes = read(array(rows))
    assert (texts, labels) == (TEXTS, ["bad", "good"] * 3)
    assert notes[-1] == "train: 6 rows of a.json"
    assert (
        "a.json: 6 rows left out, as the annotation export marks them: 2 cancelled, 2 not annotated, 1 rejected in review, "
        "1 annotators disagree"
    ) in notes


def test_of_several_annotations_ground_truth_counts_then_the_majority() -> None:
    good, bad = annotation("good"), annotation("bad")
    truth = annotation("bad", ground_truth=True)
    cancelled = annotation("bad", was_cancelled=True)
    rows = [task("a", good, good, truth), task("b", good, bad, good), task("c", cancelled, good), task("d", bad)]
    assert read(array(rows * 2))[1] == ["bad", "good", "good", "bad"] * 2


def test_several_questions_of_label_studio_are_columns() -> None:
    rows = []
    for n, text in enumerate(TEXTS):
        both = annotation(["bad", "good"][n % 2], control="sentiment")
        both["result"] += annotation(["food", "room"][n // 3], control="topic")["result"]
        rows.append(task(text, both))
    table = read_table(array(rows))
    assert list(table.columns) == ["text", "sentiment", "topic"]
    assert read("a.json", label_column_name="topic")[1] == ["food"] * 3 + ["room"] * 3


def test_label_studio_without_choices_is_refused() -> None:
    spans = {"type": "labels", "value": {"start": 0, "end": 2, "labels": ["PER"]}, "from_name": "l", "to_name": "t"}
    assert refusal(array([task("x", {"result": [spans]})])) == (
        "a.json is a Label Studio export without choices or ratings of whole texts, which a text classifier needs."
    )


def test_the_short_export_of_label_studio_is_read() -> None:
    topics: list[Any] = [{"choices": ["food", "room"]}, "room", "staff", "food"]
    rows = [
        {"id": n, "text": f"text {n}", "topic": topics[n % 4], "annotator": n % 2, "annotation_id": n, "lead_time": 1.5}
        for n in range(8)
    ]
    texts, labels, problem, _ = read(array(rows))
    assert (texts[0], labels, problem) == ("text 0", [["food", "room"], ["room"], ["staff"], ["food"]] * 2, MULTI)


# ---- doccano


def test_doccano_s_names_are_read_and_its_numbers_refused() -> None:
    rows = [
        {"id": n, "text": text, "label": [["a"], ["b"], ["a", "b"]][n % 3], "Comments": []}
        for n, text in enumerate(TEXTS)
    ]
    assert read(lines(rows))[1:3] == ([["a"], ["b"], ["a", "b"]] * 2, MULTI)
    rows = [{"id": 1, "text": "x", "annotations": [{"label": 3, "user": 1}], "meta": {}}]
    assert refusal(lines(rows)) == (
        "a.jsonl is an export of doccano with numbers for labels; export it as JSONL, which has their names under label."
    )


def test_what_doccano_did_not_confirm_is_left_out() -> None:
    rows = [
        {"id": n, "text": text, "label": [["a", "b"], ["b"]][n % 2], "annotation_approver": "ann" if n < 4 else None}
        for n, text in enumerate(TEXTS)
    ]
    texts, _, _, notes = read(lines(rows))
    assert texts == TEXTS[:4]
    assert "a.jsonl: 2 rows left out, as the annotation export marks them: 2 not approved" in notes
    nobody = [{**row, "annotation_approver": None} for row in rows]
    assert read(lines(nobody))[0] == TEXTS
    confirmed = [{"text": text, "label": "ab"[n % 2], "is_confirmed": n != 5} for n, text in enumerate(TEXTS)]
    assert read(lines(confirmed))[0] == TEXTS[:5]


# ---- all of them


def test_all_texts_of_an_export_are_predicted_whatever_became_of_them() -> None:
    rows = [task("a", annotation("bad")), task("b", annotation("bad", was_cancelled=True)), task("c")]
    file = open_texts(array(rows))
    assert [text for block in file.blocks() for text in file.texts(block)] == ["a", "b", "c"]
    file = open_texts(lines([{"text": "a", "label": "x", "answer": "reject"}, {"text": "b", "cats": {"x": 1}}]))
    assert [text for block in file.blocks() for text in file.texts(block)] == ["a", "b"]


def test_a_row_of_an_export_that_is_malformed_names_its_line() -> None:
    rows = [json.dumps({"text": text, "cats": {"A": n % 2, "B": 1 - n % 2}}) for n, text in enumerate(TEXTS)]
    Path("a.jsonl").write_text("\n".join([*rows, "{no json"]))
    with pytest.raises(DataError, match=r"^a\.jsonl:7: not JSON"):
        read_table("a.jsonl")
