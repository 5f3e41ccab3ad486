"""--fix writes what the findings ask for, a log of every change, and not a character else."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlp_ft.data import Table, read_table
from nlp_ft.data.checks.finding import Checked, Finding, Split
from nlp_ft.data.checks.fix import apply
from nlp_ft.data.checks.fix.edits import edits, merged
from nlp_ft.errors import ConfigError, DataError

ODD_TEXTS = [
    "NA", "null", "", "007", "=cmd()", "  spaces  ", "\t", "a,b", 'say "hi"', '"', "two\nlines", "two\r\nlines",
    "lone\rreturn", "\u2028\x85\x0b", "🙂 né", "\ufeff", "-", "a\\nb", ";", "|",
]  # fmt: skip


@dataclass(frozen=True)
class Names:
    texts: Sequence[str] = ("text",)
    text_pair: str | None = None
    delimiter: str = " "


def table(split: str, **columns: Sequence[Any]) -> Table:
    return Table(f"{split}.csv", dict(columns), range(2, 2 + len(next(iter(columns.values())))))


def checked_of(tables: dict[str, Table], names: Names = Names(), labels: list[Any] | None = None) -> Checked:
    splits = {}
    for name, one in tables.items():
        texts = [
            names.delimiter.join(cells) for cells in zip(*(one.columns[text] for text in names.texts), strict=True)
        ]
        pairs = None if names.text_pair is None else one.texts(names.text_pair, "")
        splits[name] = Split(name, texts, pairs, labels or [0] * len(one), one.where)
    return Checked(splits, "single_label_classification", ["a", "b"])


def finding(check: str = "leak", message: str = "is elsewhere too", **changes: Any) -> Finding:
    return Finding(check, "warning", "train", 1, 1, message, "advice", **changes)


def fixed(
    out: Path, tables: dict[str, Table], findings: list[Finding], names: Names = Names(),
) -> apply.Fixed:  # fmt: skip
    return apply.apply(apply.plan(checked_of(tables, names), findings), tables, names, out)


def log_of(out: Path) -> list[dict[str, str]]:
    with (out / "changes.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def back(path: Path) -> dict[str, list[Any]]:
    return {name: list(cells) for name, cells in read_table(path).columns.items()}


def test_dropped_rows_go_rewritten_ones_change_and_all_others_stay(tmp_path: Path) -> None:
    tables = {
        "train": table(
            "train", id=["1", "2", "3", "4"], text=["one", "caf&eacute;", "three", "four"], label=list("abab")
        ),
        "test": table("test", id=["5", "6"], text=["three", "six"], label=list("ab")),
    }
    leak = finding("leak", "texts of test are in train too", drop={"train": [2]})
    html = finding("html", "HTML entities", rewrite={"train": {1: "café"}})
    done = fixed(tmp_path / "out", tables, [leak, html])
    assert back(tmp_path / "out/train.csv") == {
        "id": ["1", "2", "4"],
        "text": ["one", "café", "four"],
        "label": list("abb"),
    }
    assert back(tmp_path / "out/test.csv") == tables["test"].columns
    heads = ("split", "place", "check", "action", "before", "after", "reason")
    assert log_of(tmp_path / "out") == [
        dict(zip(heads, row, strict=True))
        for row in (
            ("train", "train.csv:3", "html", "rewrite", "caf&eacute;", "café", "HTML entities"),
            ("train", "train.csv:4", "leak", "drop", "three", "", "texts of test are in train too"),
        )
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["changes.csv", "test.csv", "train.csv"]
    assert done.lines() == [
        f"train: 3 rows in {tmp_path}/out/train.csv (1 dropped, 1 rewritten)",
        f"test: 2 rows in {tmp_path}/out/test.csv (0 dropped, 0 rewritten)",
        f"every change, with its reason: {tmp_path}/out/changes.csv",
    ]
    assert tables["train"].columns["text"][1] == "caf&eacute;"  # the table itself stays as it was


def test_a_row_that_two_checks_drop_goes_once_for_both_reasons(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["one", "two", "three"])}
    findings = [
        finding("leak", "in test too", drop={"train": [1]}),
        finding("exact_duplicates", "repeats", drop={"train": [1, 2]}),
        finding("leak", "in validation too", drop={"train": [1]}),
    ]
    done = fixed(tmp_path / "out", tables, findings)
    assert (done.kept, done.dropped) == ({"train": 1}, {"train": 2})
    both, one = log_of(tmp_path / "out")
    assert (both["check"], both["reason"]) == ("leak; exact_duplicates", "in test too; repeats; in validation too")
    assert (one["check"], one["reason"]) == ("exact_duplicates", "repeats")


def test_a_dropped_row_is_not_rewritten(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["one", "two"])}
    findings = [finding("html", rewrite={"train": {0: "uno"}}), finding("leak", drop={"train": [0]})]
    plan = apply.plan(checked_of(tables), findings)
    assert len(plan) == 1
    done = apply.apply(plan, tables, Names(), tmp_path / "out")
    assert (done.dropped, done.rewritten) == ({"train": 1}, {"train": 0})
    assert [change["action"] for change in log_of(tmp_path / "out")] == ["drop"]


def test_two_rewrites_of_one_row_are_both_carried_out_in_the_order_of_the_findings(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["the cafÃ© &amp; bar"])}
    mojibake = finding("mojibake", rewrite={"train": {0: "the café &amp; bar"}})
    html = finding("html", rewrite={"train": {0: "the cafÃ© & bar"}})
    done = fixed(tmp_path / "out", tables, [mojibake, html])
    assert back(tmp_path / "out/train.csv") == {"text": ["the café & bar"]}
    assert [(change["check"], change["before"], change["after"]) for change in log_of(tmp_path / "out")] == [
        ("mojibake", "the cafÃ© &amp; bar", "the café &amp; bar"),
        ("html", "the café &amp; bar", "the café & bar"),
    ]
    assert done.rewritten == {"train": 1}
    assert not done.notes


def test_of_two_rewrites_of_the_same_characters_the_first_stands_and_it_is_said(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["it\xe2\x80\x99s \x07fine"])}
    mojibake = finding("mojibake", rewrite={"train": {0: "it’s \x07fine"}})
    control = finding("control_characters", rewrite={"train": {0: "it\xe2s fine"}})
    done = fixed(tmp_path / "out", tables, [mojibake, control])
    assert back(tmp_path / "out/train.csv") == {"text": ["it’s fine"]}
    assert done.notes == [
        "train: 1 rewrite carried out in part, because another had changed the same characters or they reach across two "
        "text columns; changes.csv shows what was done"
    ]


def test_a_rewrite_of_joined_columns_changes_the_column_it_is_in(tmp_path: Path) -> None:
    names = Names(("title", "body"), delimiter=" - ")
    tables = {"train": table("train", title=["a &lt; b", "c"], label=["x", "y"], body=["d &amp; e", "f"])}
    html = finding("html", rewrite={"train": {0: "a < b - d & e"}})
    fixed(tmp_path / "out", tables, [html], names)
    assert back(tmp_path / "out/train.csv") == {"title": ["a < b", "c"], "label": ["x", "y"], "body": ["d & e", "f"]}
    (change,) = log_of(tmp_path / "out")
    assert (change["before"], change["after"]) == ("a &lt; b - d &amp; e", "a < b - d & e")


def test_a_rewrite_across_two_columns_is_left_out_and_said(tmp_path: Path) -> None:
    names = Names(("title", "body"))
    tables = {"train": table("train", title=["one"], body=["two"])}
    done = fixed(tmp_path / "out", tables, [finding("spaces", rewrite={"train": {0: "onetwo"}})], names)
    assert back(tmp_path / "out/train.csv") == {"title": ["one"], "body": ["two"]}
    assert log_of(tmp_path / "out") == []
    assert len(done.notes) == 1


def test_a_dropped_pair_is_logged_with_both_texts(tmp_path: Path) -> None:
    tables = {"train": table("train", q=["who?", "why?"], a=["me", "so"])}
    fixed(tmp_path / "out", tables, [finding(drop={"train": [1]})], Names(("q",), "a"))
    assert log_of(tmp_path / "out")[0]["before"] == "why?\nso"
    assert back(tmp_path / "out/train.csv") == {"q": ["who?"], "a": ["me"]}


def test_odd_texts_come_back_character_for_character(tmp_path: Path) -> None:
    tables = {"train": table("train", text=ODD_TEXTS, label=["a", "b"] * (len(ODD_TEXTS) // 2))}
    fixed(tmp_path / "out", tables, [])
    assert back(tmp_path / "out/train.csv") == tables["train"].columns
    raw = (tmp_path / "out/train.csv").read_bytes()
    assert raw.startswith(b"text,label\r\nNA,a\r\n")
    assert b'"say ""hi""",a\r\n' in raw


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6), drop=st.integers(0, 5)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_kept_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str], drop: int) -> None:
    out = tmp_path_factory.mktemp("any") / "out"
    texts, last = [*texts, "last"], len(texts)
    drop = min(drop, last - 1)
    tables = {"train": table("train", text=texts, label=["x"] * len(texts))}
    done = fixed(out, tables, [finding(drop={"train": [drop]})])
    assert back(done.files["train"])["text"] == [text for row, text in enumerate(texts) if row != drop]
    assert done.files["train"].suffix == (".jsonl" if any("\0" in text for text in texts) else ".csv")


def test_a_single_column_with_empty_texts_comes_back(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["", "a", "", "b"])}
    fixed(tmp_path / "out", tables, [finding(drop={"train": [3]})])
    assert back(tmp_path / "out/train.csv") == {"text": ["", "a", ""]}


def test_cells_that_are_no_strings_keep_their_types_as_json_lines(tmp_path: Path) -> None:
    columns = {
        "text": ["a\u2028b", "b", "c", "d"],
        "label": [["x", "y"], [], ["x"], ["y"]],
        "stars": [1, 2.5, None, True],
        "more": [{"k": [1]}, "s", "7", 7],
    }
    tables = {"train": table("train", **columns)}
    done = fixed(tmp_path / "out", tables, [finding(drop={"train": [1]})])
    found = back(tmp_path / "out/train.jsonl")
    kept = {name: [cell for row, cell in enumerate(cells) if row != 1] for name, cells in columns.items()}
    assert json.dumps(found) == json.dumps(kept)  # types too: 1 is no True
    assert list(found) == list(columns)
    assert not done.notes


def test_dates_and_decimals_become_strings_and_it_is_said(tmp_path: Path) -> None:
    tables = {
        "train": table("train", text=["a", "b"], on=[datetime.date(2020, 1, 31), None], price=[Decimal("1.50"), None])
    }
    done = fixed(tmp_path / "out", tables, [])
    assert back(tmp_path / "out/train.jsonl")["on"] == ["2020-01-31", None]
    assert back(tmp_path / "out/train.jsonl")["price"] == ["1.50", None]
    assert done.notes == ["train: cells of type Decimal, date are written as strings"]


def test_class_ids_are_written_as_their_names_and_it_is_said(tmp_path: Path) -> None:
    one = Table("hub[train]", {"text": ["a", "b"], "label": [1, 0]}, class_names={"label": ["bad", "good"]})
    done = fixed(tmp_path / "out", {"train": one}, [])
    assert back(tmp_path / "out/train.csv") == {"text": ["a", "b"], "label": ["good", "bad"]}
    assert done.notes == ["train: class ids in column 'label' are written as names"]
    many = Table("hub[train]", {"text": ["a", "b"], "label": [[1, 0], []]}, class_names={"label": ["bad", "good"]})
    fixed(tmp_path / "many", {"train": many}, [])
    assert back(tmp_path / "many/train.jsonl")["label"] == [["good", "bad"], []]


def test_a_cell_that_no_text_file_can_hold_is_refused_with_its_place_and_nothing_is_left(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["a", "b"], raw=["x", b"\xff"])}
    with pytest.raises(
        DataError, match=r"^train\.csv:3: a cell of type bytes has no form in CSV or JSON; --fix cannot"
    ):
        fixed(tmp_path / "out", tables, [])
    assert not (tmp_path / "out").exists()


def test_a_directory_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "train.csv").write_text("mine")
    tables = {"train": table("train", text=["a"])}
    with pytest.raises(ConfigError) as caught:
        fixed(out, tables, [])
    assert str(caught.value) == f"--fix {out} holds train.csv already; name another directory. Nothing is written over."
    assert (out / "train.csv").read_text() == "mine"
    with pytest.raises(ConfigError, match=r"is a file; name a directory\.$"):
        fixed(out / "train.csv", tables, [])
    with pytest.raises(ConfigError, match=r"cannot be written: Not a directory\.$"):
        fixed(out / "train.csv" / "deeper", tables, [])


def test_an_empty_directory_is_used_and_stays_when_writing_fails(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DataError):
        fixed(out, {"train": table("train", text=["a"], raw=[b""])}, [])
    assert list(out.iterdir()) == []
    fixed(out, {"train": table("train", text=["a"])}, [])
    assert back(out / "train.csv") == {"text": ["a"]}


def test_nothing_stands_in_its_place_before_all_is_written(tmp_path: Path) -> None:
    out, seen = tmp_path / "new" / "out", []

    class Watching(list[str]):
        def __iter__(self) -> Any:
            seen.extend(path.name for path in out.iterdir())
            return super().__iter__()

    tables = {"train": table("train", text=["a"]), "test": table("test", text=["b"])}
    plan = apply.plan(checked_of(tables), [])
    tables["test"].columns["text"] = Watching(["b"])
    apply.apply(plan, tables, Names(), out)
    assert seen
    assert set(seen) == {"unfinished"}
    assert sorted(path.name for path in out.iterdir()) == ["changes.csv", "test.csv", "train.csv"]


def test_a_split_that_would_be_left_empty_is_refused() -> None:
    tables = {"train": table("train", text=["a", "b"])}
    with pytest.raises(DataError, match=r"^--fix would leave no row of train; look at its findings first"):
        apply.plan(checked_of(tables), [finding(drop={"train": [0]}), finding(drop={"train": [1]})])


def test_a_class_that_would_lose_its_last_row_is_warned_of() -> None:
    tables = {"train": table("train", text=["a", "b", "c"])}
    checked = checked_of(tables, labels=[0, 1, 0])
    assert apply.plan(checked, [finding(drop={"train": [1]})]).notes == [
        "warning: --fix leaves no row of train with the label b"
    ]
    assert apply.plan(checked, [finding(drop={"train": [0]})]).notes == []
    many = Checked(
        {"train": checked_of(tables, labels=[[1, 0], [1, 1], [1, 0]]).splits["train"]},
        "multi_label_classification",
        ["a", "b"],
    )
    assert apply.plan(many, [finding(drop={"train": [1]})]).notes[0].endswith("label b")


def test_a_row_or_split_that_is_not_there_is_a_defect_and_raises(tmp_path: Path) -> None:
    tables = {"train": table("train", text=["a", "b"])}
    for changes in ({"train": [2]}, {"train": [-1]}, {"test": [0]}):
        with pytest.raises(ValueError, match=r"^leak changes row"):
            apply.plan(checked_of(tables), [finding(drop=changes)])
    plan = apply.plan(checked_of(tables), [])
    with pytest.raises(ValueError, match="other rows"):
        apply.apply(plan, {"train": table("train", text=["a"])}, Names(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_are_streamed_and_never_held_together(tmp_path: Path) -> None:
    """Cells of a column that counts how many of them are alive."""
    alive = most = 0

    class Cell(str):
        def __new__(cls, text: str) -> Cell:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)
            return super().__new__(cls, text)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    class Lazy(Sequence[str]):
        def __len__(self) -> int:
            return 5000

        def __getitem__(self, row: Any) -> Any:
            if not 0 <= row < 5000:
                raise IndexError(row)
            return Cell(f"text {row}")

    one = Table("train.csv", {"text": Lazy()}, range(2, 5002))
    checked = Checked(
        {"train": Split("train", Lazy(), None, [0] * 5000, one.where)}, "single_label_classification", ["a"]
    )
    findings = [
        finding(drop={"train": list(range(0, 5000, 2))}),
        finding(rewrite={"train": dict.fromkeys(range(5000), "new")}),
    ]
    done = apply.apply(apply.plan(checked, findings), {"train": one}, Names(), tmp_path / "out")
    assert (done.kept, done.dropped, done.rewritten) == ({"train": 2500}, {"train": 2500}, {"train": 2500})
    assert most < 20


def test_edits_turn_one_text_into_the_other() -> None:
    assert edits("caf&amp; bar", "caf& bar") == [(4, 8, "")]
    assert edits("same", "same") == []
    assert edits("", "new") == [(0, 0, "new")]


@given(st.text("ab c\n", max_size=40), st.text("ab c\n", max_size=40))
@settings(max_examples=200, deadline=None)
def test_a_rewrite_alone_gives_its_own_text_however_it_is_taken_apart(before: str, after: str) -> None:
    text, at = "", 0
    for start, end, new in edits(before, after):
        text, at = text + before[at:start] + new, end
    assert text + before[at:] == after
    steps, parts = merged(before, [after, after], [before], " ")
    assert (steps[0].after, steps[1].after, parts) == (after, after, [after])


def test_long_texts_are_merged_word_by_word() -> None:
    words = [f"word{i}" for i in range(1000)]
    before = " ".join(words)
    one = before.replace("word5 ", "FIRST ").replace("word900 ", "LAST ")
    other = before.replace("word400 ", "")
    steps, (text,) = merged(before, [one, other], [before], " ")
    assert text == one.replace("word400 ", "")
    assert [step.left_out for step in steps] == [0, 0]


def test_a_text_too_long_to_compare_counts_as_one_edit_so_that_time_is_bounded() -> None:
    long = " ".join(f"word{i % 7}" for i in range(20_000))
    assert len(edits(f"a {long} b", f"A {long} B")) == 1
