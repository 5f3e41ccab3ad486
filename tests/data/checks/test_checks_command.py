"""`nlp-ft data check` as a user runs it, and the line that training prints."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import RunCli, rows_of, write_csv
from datasets import Dataset, DatasetDict

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, read_rows
from nlp_ft.data.checks import run_checks
from nlp_ft.data.checks.finding import Checked
from nlp_ft.data.checks.report.html import page


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = {split: rows_of(n, seed) for seed, (split, n) in enumerate({"train": 120, "test": 40}.items())}
    rows["test"][5] = {"text": rows["train"][2]["text"].upper(), "label": rows["train"][2]["label"]}
    rows["train"][9] = {"text": rows["train"][4]["text"], "label": "positive"}
    rows["train"][20]["text"] += " caf\u00c3\u00a9"
    rows["train"][30]["text"] = ""
    for split, some in rows.items():
        write_csv(Path(f"{split}.csv"), some)


def read(name: str) -> list[dict[str, str]]:
    with Path(name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_what_is_wrong_is_shown_with_its_places_and_nothing_is_changed(run_cli: RunCli) -> None:
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    code, out, err = run_cli(["data", "check", "train.csv", "--test_file", "test.csv"])
    assert code == 0
    for told in (
        "leak",
        "test.csv:7",
        "train.csv:4",
        "conflicting labels",
        "train.csv:6",
        "train.csv:11",
        "blank",
        "train.csv:32",
    ):
        assert told in out
    assert 'text column: "text" (by its name)' in err
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_fix_writes_clean_files_that_training_takes_and_a_log_of_every_change(run_cli: RunCli) -> None:
    code, out, _ = run_cli(["data", "check", "train.csv", "--test_file", "test.csv", "--fix", "out"])
    assert code == 0
    changes = read("out/changes.csv")
    indices = {(change["place"], change["action"]) for change in changes}
    assert {
        ("train.csv:4", "drop"),
        ("train.csv:6", "drop"),
        ("train.csv:11", "drop"),
        ("train.csv:32", "drop"),
    } <= indices
    assert ("train.csv:22", "rewrite") in indices
    assert "every change, with its reason: out/changes.csv" in out
    assert any(row["text"].endswith("caf\u00e9") for row in read("out/train.csv"))
    dropped = sum(change["action"] == "drop" and change["split"] == "train" for change in changes)
    assert len(read("out/train.csv")) == 120 - dropped
    data = load_data(DataArguments(train_file=["out/train.csv"], test_file=["out/test.csv"]))
    assert len(data.test) == len(read("out/test.csv"))
    code, _, err = run_cli(["data", "check", "train.csv", "--fix", "out"])
    assert code == 2
    assert err.count("\n") == 1


def test_machines_get_json_and_people_a_page(run_cli: RunCli) -> None:
    argv = ["data", "check", "train.csv", "--test_file", "test.csv", "--json", "found.json", "--html", "found.html"]
    assert run_cli(argv)[0] == 0
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    leak = next(finding for finding in found["findings"] if finding["check"] == "leak")
    assert leak["places"]["test"][0]["where"] == "test.csv:7"
    page = Path("found.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 2
    assert "http://" not in page.replace("http://www.w3.org/", "")
    code, _, err = run_cli(argv)
    assert (code, err) == (
        2,
        "nlp-ft: nlp-ft data check: --json found.json is there already; name another. Nothing is written over.\n",
    )


@pytest.mark.parametrize(("fail_on", "wanted"), [("error", 1), ("warning", 1), (None, 0)])
def test_the_exit_code_says_what_was_found_where_that_is_asked_for(
    run_cli: RunCli, fail_on: str | None, wanted: int
) -> None:
    flags = [] if fail_on is None else ["--fail_on", fail_on]
    assert run_cli(["data", "check", "train.csv", "--test_file", "test.csv", *flags])[0] == wanted
    write_csv(
        Path("clean.csv"), [{**row, "text": f"{row['text']} {n} {n * n}"} for n, row in enumerate(rows_of(60, 3))]
    )
    assert run_cli(["data", "check", "clean.csv", "--fail_on", "error"])[0] == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nlp-ft: nlp-ft data: there is one command, check, as in nlp-ft data check train.csv."),
        (["chek", "a.csv"], "nlp-ft: nlp-ft data: there is one command, check, as in nlp-ft data check train.csv."),
        (["check", "no/a.csv"], "nlp-ft: no such file: no/a.csv; there is no directory no either."),
        (
            ["check", "train.csv", "--tst_file", "x"],
            "nlp-ft: nlp-ft data check: unknown flag '--tst_file'. Did you mean '--test_file'?",
        ),
        (["check", "train.csv", "--limit", "0"], "nlp-ft: nlp-ft data check: --limit must be at least 1, got 0."),
    ],
)
def test_mistakes_are_told_in_one_line(run_cli: RunCli, argv: list[str], message: str) -> None:
    assert run_cli(["data", *argv]) == (2, "", f"{message}\n")


def test_texts_too_long_for_a_checkpoint_are_counted_by_its_tokenizer(run_cli: RunCli, tiny_bert: Path) -> None:
    rows = rows_of(60, 0)
    for row in rows[:12]:
        row["text"] = " ".join([row["text"]] * 3)
    write_csv(Path("long.csv"), rows)
    argv = ["data", "check", "long.csv", "--model_name_or_path", str(tiny_bert), "--max_seq_length", "20"]
    code, out, _ = run_cli(argv)
    assert code == 0
    assert "12 of 60" in out
    assert "20 tokens" in out


def test_training_says_in_one_line_what_the_check_found() -> None:
    Path("test.csv").unlink()
    line = run_checks.summary(load_data(DataArguments(train_file=["train.csv"], skip_bad_rows=True)))
    assert line.startswith("data check: 1 error")
    assert "conflicting labels" in line
    assert "\n" not in line


def test_every_problem_and_pairs_can_be_checked() -> None:
    rows: list[dict[str, Any]] = rows_of(80, 0)
    for n, row in enumerate(rows):
        row |= {"other": f"{row['text']} {n}", "stars": n % 7 + 0.5, "tags": "a;b" if n % 3 else "b;c"}
    write_csv(Path("all.csv"), rows)
    for column in ("label", "stars", "tags"):
        for names in ("text", "text,other"):
            found = read_rows(DataArguments(train_file=["all.csv"], text_column_names=names, label_column_name=column))
            report, checked = run_checks.check(found)
            assert isinstance(checked, Checked)
            assert report.rows == 80
            assert page(report).endswith("</html>\n")
            assert json.loads(report.to_json())["splits"]["train"]["rows"] == 80


def test_a_dataset_is_checked_like_files(run_cli: RunCli) -> None:
    splits: Any = {
        name: Dataset.from_dict({key: [row[key] for row in read(f"{name}.csv")] for key in ("text", "label")})
        for name in ("train", "test")
    }
    DatasetDict(splits).save_to_disk("saved")
    code, out, err = run_cli(["data", "check", "--dataset_name", "saved"])
    assert code == 0, err
    assert "saved[test], row 6" in out
    code, _, err = run_cli(["data", "check"])
    assert (code, err) == (2, "nlp-ft: give --train_file or --dataset_name, one of the two; neither came.\n")


def test_rows_that_cannot_be_read_are_not_lost_by_fix(run_cli: RunCli) -> None:
    Path("train.csv").write_text(Path("train.csv").read_text(encoding="utf-8") + "short\n", encoding="utf-8")
    assert run_cli(["data", "check", "train.csv", "--fix", "out"])[0] == 2
    code, out, err = run_cli(["data", "check", "train.csv", "--skip_bad_rows", "--fix", "out"])
    assert code == 0
    assert "2 rows left out (--skip_bad_rows)" in err
    assert "2 bad rows left out of these files: out/rejected_rows.csv" in out
    short, blank = read("out/rejected_rows.csv")
    assert (short["place"], short["content"]) == ("train.csv:122", "short")
    assert blank["place"] == "train.csv:32"
    assert "is blank" in blank["reason"]
